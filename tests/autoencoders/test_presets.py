"""Published autoencoders have the published sizes."""

import jax
import jax.numpy as jnp
import pytest

from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax.utils import trees


def conv(kernel, inputs, outputs):
  """Parameters of a convolution with a bias."""
  return kernel * kernel * inputs * outputs + outputs


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(
  'quantizer', [quantizers.VectorQuantizer, quantizers.EMAVectorQuantizer]
)
def test_sonnet_example_by_hand(quantizer, channels):
  model = autoencoders.vqvae_sonnet(
    quantizer(codebook_size=512, code_dim=64), image_channels=channels
  )
  variables = jax.eval_shape(
    model.init, jax.random.key(0), jnp.zeros((1, 32, 32, channels))
  )
  block = conv(3, 128, 32) + conv(1, 32, 128)
  want = {
    'encoder': conv(4, channels, 64)
    + conv(4, 64, 128)
    + conv(3, 128, 128)
    + 2 * block,
    'to_code': conv(1, 128, 64),
    'decoder': conv(3, 64, 128)
    + 2 * block
    + conv(4, 128, 64)
    + conv(4, 64, channels),
  }
  if quantizer is quantizers.VectorQuantizer:
    want['quantizer'] = 512 * 64
  else:
    assert variables['codebook']['quantizer']['codebook'].shape == (512, 64)
  params = variables['params']
  assert {name: trees.count(tree) for name, tree in params.items()} == want


def test_sonnet_example_in_shapes_and_ranges():
  model = autoencoders.vqvae_sonnet(
    quantizers.EMAVectorQuantizer(codebook_size=512, code_dim=64)
  )
  assert model.stride == 4
  assert model.value_range == (-0.5, 0.5)
  assert (model.quantizer.commitment_weight, model.quantizer.decay) == (
    0.25,
    0.99,
  )
  image = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.uint8)
  (decoded, quantized), _ = jax.eval_shape(
    model.init_with_output, jax.random.key(0), image
  )
  assert quantized.indices.shape == (2, 8, 8)
  assert decoded.shape == image.shape
