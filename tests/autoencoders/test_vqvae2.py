"""Laws of the hierarchy: each grid is conditioned on the grids above it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax.autoencoders import base

K, D = 8, 4


def make(strides=(2, 2), quantizer=None, **fields):
  quantizer = quantizer or quantizers.VectorQuantizer(
    codebook_size=K, code_dim=D
  )
  return autoencoders.VQVAE2(
    quantizer=quantizer,
    strides=strides,
    channels=8,
    residual_channels=4,
    residual_blocks=1,
    **fields,
  )


def images(n=2, height=16, width=8, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (n, height, width, 3)).astype(np.uint8)


@functools.partial(jax.jit, static_argnames=('model', 'method'))
def call(model, variables, x, method='__call__'):
  return model.apply(variables, x, method=method)


@functools.cache
def ready(strides):
  model = make(strides)
  return model, random_variables(model, images())


each = pytest.mark.parametrize('strides', [(2,), (4, 2), (2, 2, 2)])


@each
def test_grids_come_coarsest_first(strides):
  model, variables = ready(strides)
  quantized = call(model, variables, images(), 'encode')
  assert len(quantized.indices) == len(quantized.quantized) == len(strides)
  products = np.cumprod(strides)[::-1]
  assert [grid.stride for grid in model.token_grids] == list(products)
  assert model.stride == products[0]
  for grid, indices, codes in zip(
    model.token_grids, quantized.indices, quantized.quantized, strict=True
  ):
    assert indices.shape == (2, *grid.shape(16, 8))
    assert codes.shape == (*indices.shape, D)
    assert (grid.codebook_size, grid.index_shape) == (K, ())


@each
def test_indices_decode_to_the_reconstruction(strides):
  model, variables = ready(strides)
  image, quantized = call(model, variables, images())
  assert image.shape == images().shape and image.dtype == jnp.float32
  decoded = call(model, variables, quantized.indices, 'decode_indices')
  np.testing.assert_allclose(decoded, image, atol=1e-5)
  again = call(model, variables, quantized.quantized, 'decode')
  np.testing.assert_allclose(again, image, atol=1e-5)


def test_each_level_has_its_own_codebook():
  model, variables = ready((2, 2, 2))
  tables = [
    variables['params'][f'quantizers_{i}']['codebook'] for i in range(3)
  ]
  assert len({np.asarray(table).tobytes() for table in tables}) == 3


def test_a_grid_depends_on_parent_grids_only():
  """With the coarse table exchanged the fine latents move; not vice versa."""
  model, variables = ready((2, 2))
  want = call(model, variables, images(), 'encode')

  def with_table(level):
    tables = variables['params'][f'quantizers_{level}']
    changed = {'codebook': tables['codebook'] + 3.0}
    params = {**variables['params'], f'quantizers_{level}': changed}
    return call(model, {'params': params}, images(), 'encode')

  coarse, fine = with_table(1), with_table(0)
  commitment = 'commitment_loss_1'  # of the finer level
  assert not np.isclose(coarse.stats[commitment], want.stats[commitment])
  np.testing.assert_array_equal(fine.indices[0], want.indices[0])
  np.testing.assert_array_equal(
    fine.stats['commitment_loss_0'], want.stats['commitment_loss_0']
  )


def test_every_level_moves_the_image():
  model, variables = ready((2, 2, 2))
  _, quantized = call(model, variables, images())
  want = call(model, variables, quantized.indices, 'decode_indices')
  for level in range(3):
    indices = list(quantized.indices)
    indices[level] = (indices[level] + 1) % K
    moved = call(model, variables, tuple(indices), 'decode_indices')
    assert (np.abs(moved - want) > 1e-6).mean() > 0.5, level


def test_losses_are_summed_and_stats_are_named_by_level():
  model, variables = ready((2, 2))
  quantized = call(model, variables, images(), 'encode')
  stats = quantized.stats
  want = 1.25 * (stats['commitment_loss_0'] + stats['commitment_loss_1'])
  np.testing.assert_allclose(quantized.loss, want, rtol=1e-5)
  assert {'batch_usage_0', 'batch_usage_1'} <= set(stats)


@each
def test_the_gradient_reaches_every_parameter(strides):
  model, variables = ready(strides)
  image = images().astype(np.float32) / 255

  @jax.jit
  @jax.grad
  def gradient(params):
    decoded, quantized = model.apply({'params': params}, image)
    return jnp.square(decoded - image).mean() + quantized.loss

  leaves, _ = jax.tree_util.tree_flatten_with_path(
    gradient(variables['params'])
  )
  dead = [jax.tree_util.keystr(path) for path, leaf in leaves if not leaf.any()]
  assert not dead


def test_any_quantizer_fits_with_indices_of_its_shape():
  inner = quantizers.EMAVectorQuantizer(codebook_size=K, code_dim=D)
  model = make(
    quantizer=quantizers.ResidualQuantizer(quantizer=inner, levels=3)
  )
  variables = random_variables(model, images())
  quantized = call(model, variables, images(), 'encode')
  assert [i.shape for i in quantized.indices] == [
    (2, 4, 2, 3),
    (2, 8, 4, 3),
  ]
  counts = base.code_counts(model.token_grids, quantized.indices)
  assert {name: c.shape for name, c in counts.items()} == {
    '_0': (3, K),
    '_1': (3, K),
  }
  assert counts['_0'].sum() == 2 * 4 * 2 * 3


def test_code_counts_ignore_examples_of_weight_zero():
  grids = (base.TokenGrid(stride=2, codebook_size=K),)
  indices = jnp.asarray(np.random.default_rng(0).integers(0, K, (3, 2, 2)))
  counts = base.code_counts(grids, indices, weights=jnp.array([1.0, 0.0, 1.0]))
  want = np.bincount(np.asarray(indices)[[0, 2]].ravel(), minlength=K)
  np.testing.assert_array_equal(counts[''], want)


def test_counts_leave_out_codebooks_that_are_too_large():
  sizes = [2**30, K]
  grids = [base.TokenGrid(stride=2, codebook_size=size) for size in sizes]
  indices = jnp.zeros((1, 2, 2), jnp.int32)
  counts = base.code_counts(grids, (indices, indices))
  assert {name: c.shape for name, c in counts.items()} == {'_1': (K,)}


def test_only_training_moves_the_codebooks():
  quantizer = quantizers.EMAVectorQuantizer(codebook_size=K, code_dim=D)
  model = make(quantizer=quantizer)
  variables = random_variables(model, images())

  @functools.partial(jax.jit, static_argnames='train')
  def updates(train):
    _, state = model.apply(
      variables, images(), train=train, mutable=['codebook']
    )
    return [book['updates'] for book in state['codebook'].values()]

  assert (updates(train=False), updates(train=True)) == ([0, 0], [1, 1])


@pytest.mark.parametrize('strides', [(), (3, 2), (4, 1)])
def test_impossible_strides_are_named(strides):
  with pytest.raises(ValueError, match='strides must be powers of 2'):
    jax.eval_shape(make(strides).init, jax.random.key(0), images())


def test_an_image_that_does_not_divide_is_refused():
  with pytest.raises(ValueError, match='multiples of 4'):
    jax.eval_shape(make().init, jax.random.key(0), images(height=6))
