"""Laws of autoencoders without a codebook: AE and VAE."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax import autoencoders
from vq_jax import losses
from vq_jax.autoencoders import vae as vae_lib

D = 3
BACKBONE = {'channels': 8, 'inner_channels': 4, 'blocks': 1, 'patch': 8}
KINDS = {
  'ae': autoencoders.AE,
  'vae': functools.partial(
    autoencoders.VAE, likelihood=autoencoders.DiscretizedLogistic()
  ),
}
every = pytest.mark.parametrize('kind', KINDS)
each_latent = pytest.mark.parametrize('grid', [None, (2, 3)])


def make(kind, grid=(2, 3), **fields):
  return KINDS[kind](
    encoder=autoencoders.PatchEncoder(**BACKBONE),
    decoder=autoencoders.PatchDecoder(out_channels=1, **BACKBONE),
    latent_dim=D,
    grid=grid,
    grid_channels=5,
    **fields,
  )


def images(n=4, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (n, 8, 12, 1)).astype(np.uint8)


@functools.partial(jax.jit, static_argnames=('model', 'method'))
def call(model, variables, *args, method='__call__'):
  return model.apply(variables, *args, method=method)


def keys(n, seed=0):
  return jax.random.split(jax.random.key(seed), n)


@every
@each_latent
def test_a_latent_is_a_vector_or_a_map_and_decodes_to_an_image(kind, grid):
  model = make(kind, grid)
  variables = random_variables(model, images())
  z = call(model, variables, images(), method='latents')
  assert z.shape == (4, D) if grid else (4, 2, 3, D)
  decoded = call(model, variables, z, method='decode')
  assert decoded.shape == (4, 8, 12, 1) and decoded.dtype == jnp.float32
  both, _ = call(model, variables, images())
  np.testing.assert_allclose(both, decoded, atol=1e-5)
  assert model.token_grids == ()


@every
def test_uint8_and_float_images_have_the_same_latents(kind):
  model = make(kind)
  variables = random_variables(model, images())
  floats = images().astype(np.float32) / 255
  np.testing.assert_allclose(
    call(model, variables, images(), method='latents'),
    call(model, variables, floats, method='latents'),
    atol=1e-5,
  )


@every
def test_a_vector_is_for_images_of_one_size(kind):
  model = make(kind)
  variables = random_variables(model, images())
  with pytest.raises(ValueError, match=r'grid is \(2, 3\).*shape \(3, 3\)'):
    call(model, variables, np.zeros((1, 12, 12, 1), np.uint8))
  with pytest.raises(ValueError, match='multiples of 4'):
    call(model, variables, np.zeros((1, 9, 12, 1), np.uint8))


@every
@each_latent
def test_the_gradient_reaches_every_parameter(kind, grid):
  model = make(kind, grid)
  variables = random_variables(model, images())
  image = images().astype(np.float32) / 255

  @jax.jit
  @jax.grad
  def gradient(params):
    if kind == 'ae':
      decoded, _ = model.apply({'params': params}, image)
      return jnp.square(decoded - image).mean()
    log_p, q, _ = model.apply(
      {'params': params}, image, keys(4), method='elbo_terms'
    )
    return (q.kl() - log_p).mean()

  leaves, _ = jax.tree_util.tree_flatten_with_path(
    gradient(variables['params'])
  )
  dead = [jax.tree_util.keystr(path) for path, leaf in leaves if not leaf.any()]
  assert not dead


def gaussian(seed=0, shape=(5, 2, 3)):
  rng = np.random.default_rng(seed)
  return vae_lib.Gaussian(
    mean=jnp.asarray(rng.normal(size=shape), jnp.float32),
    log_variance=jnp.asarray(rng.normal(size=shape), jnp.float32),
  )


def test_kl_is_the_formula_summed_over_the_latent():
  q = gaussian()
  s = np.exp(np.asarray(q.log_variance, np.float64) / 2)
  m = np.asarray(q.mean, np.float64)
  want = (np.log(1 / s) + (s**2 + m**2) / 2 - 1 / 2).sum(axis=(1, 2))
  np.testing.assert_allclose(q.kl(), want, rtol=1e-5)
  standard = vae_lib.Gaussian(
    mean=jnp.zeros((2, 3)), log_variance=jnp.zeros((2, 3))
  )
  np.testing.assert_array_equal(standard.kl(), [0, 0])


def test_kl_is_the_mean_log_ratio_of_samples():
  q = gaussian(shape=(1, 2))
  many = jax.tree.map(lambda x: jnp.repeat(x, 200_000, axis=0), q)
  z = many.sample(keys(200_000))
  ratio = many.log_prob(z) - vae_lib.standard_log_prob(z)
  np.testing.assert_allclose(ratio.mean(), q.kl()[0], rtol=0.02)


def test_samples_have_the_mean_and_variance_of_the_distribution():
  q = gaussian(shape=(1, 2))
  many = jax.tree.map(lambda x: jnp.repeat(x, 100_000, axis=0), q)
  z = np.asarray(many.sample(keys(100_000)))
  np.testing.assert_allclose(z.mean(axis=0), q.mean[0], atol=0.02)
  np.testing.assert_allclose(
    z.var(axis=0), np.exp(q.log_variance[0]), rtol=0.02
  )


def test_a_sample_is_a_function_of_its_examples_key_alone():
  q = gaussian()
  z = q.sample(keys(5))
  half = jax.tree.map(lambda x: x[3:], q).sample(keys(5)[3:])
  np.testing.assert_array_equal(z[3:], half)


def test_log_weights_average_to_the_evidence_lower_bound():
  """E log w = E log p(x|z) - KL, the one by samples, the other closed."""
  model = make('vae')
  variables = random_variables(model, images(1))
  image = np.repeat(images(1), 500, axis=0).astype(np.float32) / 255
  log_w = call(model, variables, image, keys(500), method='log_weight')
  log_p, q, _ = call(model, variables, image, keys(500, 1), method='elbo_terms')
  bound = (log_p - q.kl()).mean()
  error = 4 * np.std(log_p) / np.sqrt(500) + 4 * np.std(log_w) / np.sqrt(500)
  np.testing.assert_allclose(log_w.mean(), bound, atol=error)
  better = losses.iwae_bound(log_w.reshape(50, 10)).mean()
  assert better > log_w.mean()


def test_two_strides_are_refused():
  model = make('ae').clone(
    decoder=autoencoders.PatchDecoder(out_channels=1, patch=4, patch_stride=2)
  )
  with pytest.raises(ValueError, match='same stride; got 4 and 2'):
    jax.eval_shape(model.init, jax.random.key(0), images())
