"""The quantizers that the laws are tried on, and how to run them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax import quantizers

K, D, BETA = 16, 4, 0.7

# A new quantizer joins by a line here.
FACTORIES = {
  'vq': functools.partial(
    quantizers.VectorQuantizer, codebook_size=K, code_dim=D, beta=BETA
  ),
  'ema_vq': functools.partial(
    quantizers.EMAVectorQuantizer, codebook_size=K, code_dim=D, beta=BETA
  ),
}

every = pytest.mark.parametrize(
  'make', [pytest.param(f, id=name) for name, f in FACTORIES.items()]
)


def latents(*shape, seed=0):
  """Normal latents float32 [*shape, D]."""
  rng = np.random.default_rng(seed)
  return rng.normal(size=(*shape, D)).astype(np.float32)


@functools.partial(jax.jit, static_argnames='quantizer')
def init(quantizer, seed=0):
  return quantizer.init(jax.random.key(seed), jnp.zeros((1, D)))


@functools.partial(jax.jit, static_argnames=('quantizer', 'train'))
def run(quantizer, variables, z, train=False, seed=0):
  """Returns `Quantized` and the variables after the call."""
  quantized, updated = quantizer.apply(
    variables,
    z,
    train=train,
    mutable=['codebook'],
    rngs={'code': jax.random.key(seed)},
  )
  return quantized, {**variables, **updated}


def step(quantizer, variables, z, seed=0):
  """Trains on one batch."""
  return run(quantizer, variables, z, train=True, seed=seed)


@functools.partial(jax.jit, static_argnames='quantizer')
def lookup(quantizer, variables, indices):
  return quantizer.apply(variables, indices, method='lookup')


def table(quantizer, variables):
  """The codes float32 [K, D], by the public way to them."""
  indices = jnp.arange(quantizer.codebook_size)
  return np.asarray(lookup(quantizer, variables, indices))


def with_table(variables, codes):
  """Replaces the table of codes, whatever collection it lives in."""

  def replace(path, leaf):
    return np.asarray(codes) if path[-1].key == 'codebook' else leaf

  return jax.tree_util.tree_map_with_path(replace, variables)


def distances(z, codes):
  """Squared distances in float64, without the expansion: [..., K]."""
  z, codes = np.asarray(z, np.float64), np.asarray(codes, np.float64)
  return np.square(z[..., None, :] - codes).sum(axis=-1)


def assert_same(got, want):
  """Equal trees, to the bit."""
  jax.tree.map(np.testing.assert_array_equal, got, want)


def assert_close(got, want, atol=1e-5):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=atol), got, want
  )
