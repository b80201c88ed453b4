"""Laws of the transformer's blocks."""

import dataclasses
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from train.planning import flops
from vq_jax.layers import activations
from vq_jax.layers import normalization
from vq_jax.layers import transformer


def config(**fields):
  sizes = {'layers': 2, 'width': 8, 'heads': 2, 'mlp_width': 12}
  return transformer.TransformerConfig(**{**sizes, **fields})


def features(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('norm', ['pre', 'post'])
def test_a_stack_without_positions_is_permutation_equivariant(norm):
  stack = transformer.TransformerStack(config(norm=norm))
  x = features(2, 6, 8)
  variables = random_variables(stack, x)
  order = np.array([3, 1, 5, 0, 4, 2])
  apply = jax.jit(lambda v, x: stack.apply(v, x)[0])
  want = apply(variables, x)[:, order]
  np.testing.assert_allclose(apply(variables, x[:, order]), want, atol=2e-4)
  assert np.abs(want - x[:, order]).max() > 0.1


@pytest.mark.parametrize('norm', ['pre', 'post'])
def test_the_position_of_layer_norm_in_a_block(norm):
  """Layers that return nothing leave x, or after each layer its LayerNorm."""
  block = transformer.TransformerBlock(config(norm=norm))
  x = 3 + 5 * features(2, 6, 8)
  variables = random_variables(block, x)
  params = jax.tree_util.tree_map_with_path(
    lambda path, v: jnp.full_like(v, path[-1].key == 'scale'), variables
  )
  got = np.asarray(jax.jit(block.apply)(params, x)[0])
  if norm == 'pre':
    np.testing.assert_array_equal(got, x)
  else:
    np.testing.assert_allclose(got.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(got.std(-1), 1, atol=1e-4)


@pytest.mark.parametrize(
  ('fields', 'options'),
  [
    ({'norm': 'pre'}, {}),
    ({'norm': 'post'}, {'causal': True}),
    ({'qk_norm': 'head', 'activation': 'swiglu'}, {}),
  ],
)
def test_the_first_tokens_alone_are_those_of_the_whole_block(fields, options):
  block = transformer.TransformerBlock(config(**fields), **options)
  x, angles = features(2, 6, 8), features(6, 2)
  variables = random_variables(block, x, angles=angles)
  apply = jax.jit(
    lambda queries: block.apply(variables, x, angles=angles, queries=queries)[
      0
    ],
    static_argnums=0,
  )
  np.testing.assert_allclose(apply(2), apply(None)[:, :2], atol=1e-5)


def test_a_kernel_over_the_grid_needs_all_tokens():
  block = transformer.TransformerBlock(config(mlp_kernel=3), grid=(2, 3))
  with pytest.raises(ValueError, match='queries need mlp_kernel=1; got 3'):
    block.init(jax.random.key(0), features(2, 6, 8), queries=2)


def test_gelu_is_the_tanh_approximation():
  x = np.linspace(-4, 4, 101, dtype=np.float32)
  inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
  want = x * (1 + np.tanh(inner)) / 2
  np.testing.assert_allclose(activations.gelu(x), want, atol=1e-6)


def test_an_adaln_block_begins_as_the_identity():
  block = transformer.TransformerBlock(config(), adaln=True)
  x, condition = features(2, 6, 8), features(2, 8, seed=1)
  variables = jax.jit(block.init)(jax.random.key(0), x, condition=condition)
  got, _ = jax.jit(block.apply)(variables, x, condition=condition)
  np.testing.assert_array_equal(got, x)
  assert not any('norm' in name for name in variables['params'])


def test_adaln_by_hand():
  """Of a block whose attention is cut off and whose MLP is tanh."""
  block = transformer.TransformerBlock(
    config(width=4, heads=1, mlp_width=4, bias=False, activation='tanh'),
    adaln=True,
  )
  x, condition = features(2, 3, 4), features(2, 4, seed=1)
  variables = random_variables(block, x, condition=condition)
  p = jax.tree.map(np.asarray, variables['params'])
  variables['params']['attention']['out']['kernel'] *= 0
  dense = p['adaln']['dense']
  vectors = condition / (1 + np.exp(-condition)) @ dense['kernel']
  vectors = (vectors + dense['bias'])[:, None]
  shift, scale, gate = np.split(vectors, 6, axis=-1)[3:]
  centred = x - x.mean(-1, keepdims=True)
  y = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-6)
  y = np.tanh((y * (1 + scale) + shift) @ p['mlp_in']['kernel'])
  want = x + gate * (y @ p['mlp_out']['kernel'])
  got, _ = jax.jit(block.apply)(variables, x, condition=condition)
  np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize('scan', [False, True])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_remat_keeps_products(dtype, scan):
  b, n, width, hidden, layers = 2, 6, 8, 12, 2

  def count(remat):
    """Counts the operations of a forward and a backward pass."""
    stack = transformer.TransformerStack(
      config(dtype=dtype, scan=scan, remat=remat)
    )
    x = jax.ShapeDtypeStruct((b, n, width), dtype)
    variables = jax.eval_shape(stack.init, jax.random.key(0), x)

    def loss(variables, x):
      return stack.apply(variables, x)[0].astype(jnp.float32).sum()

    traced = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(variables, x)
    return flops.count(traced.jaxpr.jaxpr)

  # The backward pass does not need the last product of a block.
  projections = layers * 2 * b * n * (4 * width**2 + width * hidden)
  again = count(True)
  assert count('dots_with_no_batch_dims_saveable') == again - projections
  # Attention and the hidden layers are computed again without remat, too.
  assert count('dots_saveable') < count(False) < again


def test_adaln_is_computed_in_float32():
  """The gradient of a shift is a sum over tokens, here of 4096 ones."""
  x = jnp.asarray(features(1, 4096, 3), jnp.bfloat16)
  shift, scale = jnp.asarray(features(2, 1, 1, 3), jnp.bfloat16)
  y, pull_back = jax.vjp(normalization.modulate, x, shift, scale)
  wide, *vectors = (v.astype(jnp.float32) for v in (x, shift, scale))
  want = normalization.modulate(wide, *vectors)
  np.testing.assert_array_equal(y, want.astype(jnp.bfloat16))
  np.testing.assert_allclose(want, wide * (1 + vectors[1]) + vectors[0])
  _, of_shift, of_scale = pull_back(jnp.ones_like(y))
  np.testing.assert_array_equal(of_shift, 4096)
  np.testing.assert_allclose(
    of_scale.astype(jnp.float32), wide.sum(1, keepdims=True), rtol=0.01
  )


def test_a_gated_mlp_by_hand():
  """SwiGLU behind RMSNorm, without biases, of a block without attention."""
  block = transformer.TransformerBlock(
    config(
      width=4,
      heads=1,
      mlp_width=6,
      norm_type='rms',
      bias=False,
      activation='swiglu',
    )
  )
  x = features(2, 3, 4)
  variables = random_variables(block, x)
  p = jax.tree.map(np.asarray, variables['params'])
  assert set(p['mlp_in']) == set(p['mlp_gate']) == {'kernel'}
  assert set(p['mlp_norm']) == {'scale'}
  variables['params']['attention']['out']['kernel'] *= 0
  y = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-6)
  y = y * p['mlp_norm']['scale']
  hidden = y @ p['mlp_in']['kernel']
  hidden = hidden / (1 + np.exp(-hidden)) * (y @ p['mlp_gate']['kernel'])
  got, _ = jax.jit(block.apply)(variables, x)
  np.testing.assert_allclose(
    got, x + hidden @ p['mlp_out']['kernel'], atol=1e-5
  )


def test_inconsistent_or_invalid_fields_are_refused():
  with pytest.raises(ValueError, match="needs norm='pre'"):
    transformer.TransformerBlock(config(norm='post'), adaln=True)
  with pytest.raises(ValueError, match='needs mlp_kernel=1'):
    transformer.TransformerBlock(config(mlp_kernel=3), causal=True)
  with pytest.raises(ValueError, match="'output' or 'hidden'; got 'x'"):
    config(mlp_dropout='x')
  with pytest.raises(ValueError, match='heads must be a whole number of at'):
    config(heads=0)


@pytest.mark.parametrize('where', ['output', 'hidden'])
def test_the_position_of_dropout_in_the_mlp(where):
  """All of its output, or what is hidden: then its last bias is left."""
  block = transformer.TransformerBlock(config(dropout=1.0, mlp_dropout=where))
  x = features(2, 6, 8)
  variables = random_variables(block, x)
  rngs = {'dropout': jax.random.key(0)}
  got, _ = jax.jit(lambda v: block.apply(v, x, train=True, rngs=rngs))(
    variables
  )
  bias = variables['params']['mlp_out']['bias']
  want = x + np.asarray(bias if where == 'hidden' else 0)
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_a_block_samples_its_kernels_with_the_given_initializer():
  block = transformer.TransformerBlock(
    config(activation='swiglu', kernel_init=jax.nn.initializers.ones)
  )
  params = block.init(jax.random.key(0), features(1, 2, 8))['params']
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    if path[-1].key == 'kernel':
      np.testing.assert_array_equal(leaf, 1)


def test_every_field_of_the_config_is_read():
  folder = pathlib.Path(transformer.__file__).parents[1]
  files = [*folder.glob('layers/transformer*.py'), *folder.glob('priors/*.py')]
  code = '\n'.join(file.read_text() for file in files)
  for field in dataclasses.fields(transformer.TransformerConfig):
    assert re.search(rf'(config|self)\.{field.name}\b', code), field.name
