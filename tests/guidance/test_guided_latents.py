"""Laws of the latents that are optimised, for all kinds of quantizers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.guidance import toys
from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax.guidance import latents

QUANTIZERS = {
  'vq': quantizers.VectorQuantizer(codebook_size=16, code_dim=4),
  'l2': quantizers.VectorQuantizer(
    codebook_size=16, code_dim=4, l2_normalize=True
  ),
  'ema': quantizers.EMAVectorQuantizer(codebook_size=16, code_dim=4),
  'fsq': quantizers.FSQ(levels=(4, 4, 3)),
  'lfq': quantizers.LFQ(bits=4),
  'bsq': quantizers.BSQ(bits=4),
  'gumbel': quantizers.GumbelQuantizer(codebook_size=16, code_dim=4),
  'residual': quantizers.ResidualQuantizer(
    levels=2, quantizer=quantizers.VectorQuantizer(codebook_size=8, code_dim=4)
  ),
}


def vqvae2() -> nn.Module:
  return autoencoders.VQVAE2(
    quantizers.VectorQuantizer(codebook_size=16, code_dim=2),
    strides=(2, 2),
    channels=4,
    residual_channels=4,
    residual_blocks=1,
  )


def make(name):
  model = (
    vqvae2() if name == 'vqvae2' else toys.make_autoencoder(QUANTIZERS[name])
  )
  image = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
  return model, model.init(jax.random.key(1), image), image


@pytest.mark.parametrize('name', [*QUANTIZERS, 'vqvae2'])
def test_the_latents_of_an_image_decode_to_its_reconstruction(name):
  model, variables, image = make(name)
  decoded, quantized = model.apply(variables, image)
  want = jnp.clip(decoded, 0, 1)
  single = not any(grid.index_shape for grid in model.token_grids)
  for form in ('quantized', 'logits') if single else ('quantized',):
    z = latents.from_image(model, variables, image, form)
    got = latents.decode(model, variables, z, form)
    np.testing.assert_allclose(got, want, atol=1e-5)
  tokens = latents.from_tokens(
    model, variables, quantized.indices, 'continuous'
  )
  got = latents.decode(model, variables, tokens, 'continuous')
  np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize('name', [*QUANTIZERS, 'vqvae2'])
def test_the_latents_receive_a_gradient(name):
  model, variables, image = make(name)
  z = latents.from_image(model, variables, image, 'quantized')
  z = jax.tree.map(lambda x: x + 0.01, z)

  def total(z):
    image = latents.decode(model, variables, z, 'quantized')
    return jnp.square(image - 0.3).sum()

  for part in jax.tree.leaves(jax.grad(total)(z)):
    assert np.isfinite(part).all() and (np.abs(part) > 0).any()


@pytest.mark.parametrize('name', ['vq', 'l2', 'ema', 'lfq', 'bsq', 'vqvae2'])
def test_random_tokens_are_kept_and_the_codes_bound_them(name):
  model, variables, _ = make(name)
  keys = jax.random.split(jax.random.key(3), 2)
  tokens = latents.random_tokens(model, keys, 8, 8)
  alone = latents.random_tokens(model, keys[1:], 8, 8)
  for part, one in zip(
    jax.tree.leaves(tokens), jax.tree.leaves(alone), strict=True
  ):
    np.testing.assert_array_equal(part[1:], one)
  z = latents.from_tokens(model, variables, tokens, 'quantized')
  found = model.apply(variables, z, method='quantize').indices
  jax.tree.map(np.testing.assert_array_equal, found, tokens)
  low, high = latents.code_range(model, variables, 'quantized')
  inside = jax.tree.map(
    lambda x, a, b: ((x >= a) & (x <= b)).all(), z, low, high
  )
  assert all(jax.tree.leaves(inside))


@pytest.mark.parametrize('name', ['fsq', 'gumbel'])
def test_codes_that_a_quantizer_moves_bound_nothing(name):
  """FSQ bounds its input, a Gumbel quantizer projects it."""
  model, variables, _ = make(name)
  assert latents.code_range(model, variables, 'quantized') is None
  tokens = latents.random_tokens(
    model, jax.random.split(jax.random.key(3)), 8, 8
  )
  z = latents.from_tokens(model, variables, tokens, 'quantized')
  assert z.shape[:3] == (2, 2, 2) and np.isfinite(z).all()


def test_logits_choose_the_largest_with_the_gradient_of_the_mean():
  logits = jnp.array([0.1, 2.0, -1.0])
  codebook = jnp.array([[1.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
  choice = latents._soft_choice(logits, codebook)
  np.testing.assert_array_equal(choice, codebook[1])
  got = jax.jacobian(lambda x: latents._soft_choice(x, codebook))(logits)
  want = jax.jacobian(lambda x: jax.nn.softmax(x) @ codebook)(logits)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_forms_that_a_model_has_not_are_refused():
  with pytest.raises(ValueError, match="'logits' needs one index per vector"):
    latents.check_form(make('residual')[0], 'logits')
  plain = autoencoders.AE(
    encoder=autoencoders.PatchEncoder(channels=8, blocks=0),
    decoder=autoencoders.PatchDecoder(channels=8, blocks=0),
    latent_dim=2,
  )
  with pytest.raises(ValueError, match="only be optimised in .* 'continuous'"):
    latents.check_form(plain, 'quantized')
  latents.check_form(plain, 'continuous')
