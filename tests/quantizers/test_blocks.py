"""Functions of blocks of vectors equal those of all vectors at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from tests.quantizers import cases
from tests.quantizers.cases import D
from vq_jax import quantizers
from vq_jax.quantizers import blocks
from vq_jax.quantizers import entropy
from vq_jax.quantizers import gradients
from vq_jax.quantizers import nearest as search

# So many that a block has as few vectors as it may.
MANY = 2**30
COMPARING = {
  name: case
  for name, case in cases.CASES.items()
  if name.endswith('all options') or name in ('gumbel', 'lfq', 'bsq', 'ibq')
}


def compare(codebook, z, scale):
  """What IBQ computes of a block, and the scale as a second array."""
  logits = search.inner_products(z, codebook) * scale[..., None]
  return (
    gradients.weighted_mean_gradient(logits, codebook),
    z * scale[..., None],
  ), entropy.entropy_sums(logits / 0.5)


def objective(columns, z, codebook, scale):
  (zeros, scaled), (total, p) = blocks.map_rows(
    functools.partial(compare, codebook), columns, z, scale
  )
  weights = jnp.sin(jnp.arange(z.size, dtype=jnp.float32)).reshape(z.shape)
  weighted = jnp.sum(weights * (zeros + jnp.square(scaled)))
  return weighted + total + jnp.sum(jnp.sin(p)), (scaled, total, p)


derivatives = jax.jit(
  jax.value_and_grad(objective, argnums=(1, 2, 3), has_aux=True),
  static_argnums=0,
)


def draw(shape):
  z = jnp.asarray(cases.latents(*shape))
  codebook = jnp.asarray(cases.latents(16, seed=1))
  scale = jnp.asarray(cases.latents(*shape, seed=2)[..., 0])
  return z, codebook, scale


@pytest.mark.parametrize(
  'shape',
  [(128,), (131,), (7, 29), (2, 8, 16), (96, 2), (1, 200), (0,), (1000,)],
)
def test_values_and_gradients_are_those_without_blocks(shape):
  # The terms of the sums cancel, so in float32 rounding alone can exceed the
  # tolerance.
  with jax.enable_x64(True):
    arrays = [jnp.asarray(x, jnp.float64) for x in draw(shape)]
    got, want = derivatives(MANY, *arrays), derivatives(1, *arrays)
  assert {x.dtype.name for x in jax.tree.leaves((got, want))} == {'float64'}
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-5),
    got,
    want,
  )


def test_a_block_is_all_that_is_kept():
  """The derivative of 1,024 vectors and 2^16 codes, in blocks of 64."""
  z, codes = (jax.ShapeDtypeStruct((n, D), jnp.float32) for n in (1024, 2**16))
  scale = jax.ShapeDtypeStruct((1024,), jnp.float32)
  compiled = derivatives.lower(2**16, z, codes, scale).compile()
  used = compiled.memory_analysis().temp_size_in_bytes
  assert used < 1024 * 2**16 * 4 / 2


@pytest.fixture
def tiny_blocks(monkeypatch):
  """Blocks of four vectors."""
  monkeypatch.setattr(blocks, '_ELEMENTS', 1)
  monkeypatch.setattr(blocks, '_LEAST_ROWS', 4)


def train(quantizer, variables, z):
  """Returns the output and the gradients on the parameters and on z."""

  def loss(params, z):
    quantized, _ = quantizer.apply(
      {**variables, 'params': params},
      z,
      train=True,
      mutable=['codebook'],
      rngs={'code': jax.random.key(1)},
    )
    return quantized.loss + jnp.sum(jnp.sin(quantized.quantized)), quantized

  params = variables.get('params', {})
  return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, z)


@cases.over(COMPARING)
def test_quantizers_train_alike(case, tiny_blocks, monkeypatch):
  """On one device and on a mesh of eight, with blocks and without."""
  quantizer = case.make()
  variables = cases.init(quantizer)
  z = jnp.asarray(cases.latents(8, 5, 3))
  mesh = jax.make_mesh(
    (4, 2, 1),
    ('data', 'fsdp', 'tensor'),
    axis_types=(AxisType.Auto,) * 3,
  )
  split = NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))

  def on_mesh(variables, z):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return train(quantizer, variables, z)

  one = jax.jit(functools.partial(train, quantizer))(variables, z)
  many = jax.jit(on_mesh, in_shardings=(None, split))(variables, z)
  monkeypatch.undo()
  want = jax.jit(functools.partial(train, quantizer))(variables, z)
  cases.assert_close(one, want)
  cases.assert_close(many, want)


def test_a_large_codebook_trains(tiny_blocks):
  """Two steps of IBQ lower its loss."""
  quantizer = quantizers.IBQ(codebook_size=64, code_dim=D)
  z = jnp.asarray(cases.latents(50))
  variables = cases.init(quantizer)

  @jax.jit
  def step(params):
    def loss(params):
      return quantizer.apply({'params': params}, z).loss

    value, gradient = jax.value_and_grad(loss)(params)
    return value, jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)

  first, params = step(variables['params'])
  assert step(params)[0] < first
