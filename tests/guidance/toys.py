"""A small guide and a small autoencoder, with random weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax import guidance
from vq_jax import inference
from vq_jax import model as model_lib
from vq_jax import quantizers
from vq_jax.quantizers import base


class ToyEncoder(nn.Module):
  """Embeds images by two convolutions."""

  def encode_image(self, image):
    return self(image)

  @nn.compact
  def __call__(self, image):
    x = nn.gelu(nn.Conv(8, (4, 4), strides=(2, 2))(2 * image - 1))
    x = nn.Dense(6)(x.reshape(len(x), -1))
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def make_guide(size: int = 8, seed: int = 0) -> guidance.Guide:
  """A guide of images of `size`, for which any text is a random direction."""
  module = ToyEncoder()
  key = jax.random.key(seed)
  image = jnp.zeros((1, size, size, 3))

  def encode_texts(texts):
    seeds = [sum(map(ord, text)) for text in texts]
    found = np.stack([np.random.default_rng(s).normal(size=6) for s in seeds])
    return found / np.linalg.norm(found, axis=-1, keepdims=True)

  return guidance.Guide(
    name='toy',
    module=module,
    variables=module.init(key, image),
    size=size,
    encode_texts=encode_texts,
  )


def make_autoencoder(
  quantizer: base.Quantizer | None = None, channels: int = 3
) -> autoencoders.VQVAE:
  """A VQ-VAE of stride 4."""
  return autoencoders.VQVAE(
    encoder=autoencoders.PatchEncoder(channels=8, blocks=0),
    quantizer=quantizer
    or quantizers.VectorQuantizer(codebook_size=16, code_dim=4),
    decoder=autoencoders.PatchDecoder(
      channels=8, blocks=0, out_channels=channels
    ),
  )


def make_model(
  autoencoder: nn.Module | None = None, size: int = 16, channels: int = 3
) -> model_lib.Model:
  """A model of an untrained autoencoder."""
  autoencoder = autoencoder or make_autoencoder(channels=channels)
  shape = (size, size, channels)
  variables = autoencoder.init(jax.random.key(1), jnp.zeros((1, *shape)))
  return model_lib.Model(
    run_config={},
    autoencoder_run_config={},
    autoencoder=autoencoder,
    variables={'autoencoder': variables},
    info=inference.ModelInfo(
      image_shape=shape,
      class_names=(),
      data=inference.TrainingData(source='none'),
      levels=len(autoencoder.token_grids),
    ),
  )
