"""CLIP: embeddings of images and texts in one space."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.features import inputs
from vq_jax.features.clip_config import CLIPConfig
from vq_jax.features.clip_config import ResNetConfig
from vq_jax.features.clip_config import ViTConfig
from vq_jax.features.clip_image import ModifiedResNet
from vq_jax.features.clip_image import VisionTransformer
from vq_jax.features.clip_text import TextTransformer
from vq_jax.layers import normalization

__all__ = ['CLIP', 'CLIPConfig', 'ResNetConfig', 'ViTConfig']

# log(1 / 0.07), the first value of the published training.
_LOGIT_SCALE = 2.6592600369327779


class CLIP(nn.Module):
  """CLIP (https://arxiv.org/abs/2103.00020).

  An image and a text that describes it have similar embeddings: the logits are
  their cosine similarities, multiplied by a learned scale. `load_clip` loads
  released weights.

  Attributes:
    config: sizes.
    remat: whether each block is computed again in the backward pass, which
      saves memory when gradients with respect to images are taken.
    dtype: dtype of the computation. Embeddings are projected and normalised in
      float32 in any case.

  Example:
    >>> import functools
    >>> import jax
    >>> from vq_jax import features
    >>> clip = features.CLIP(
    ...   features.CLIPConfig(
    ...     embed_dim=8,
    ...     image_size=8,
    ...     vision=features.ViTConfig(patch=4, width=8, layers=1, heads=2),
    ...     text_width=8,
    ...     text_heads=2,
    ...     text_layers=1,
    ...     vocab_size=16,
    ...   )
    ... )
    >>> image = jax.numpy.zeros((2, 8, 8, 3))
    >>> tokens = jax.numpy.asarray([[14, 3, 5, 15]])
    >>> init = functools.partial(jax.eval_shape, clip.init_with_output)
    >>> logits, variables = init(jax.random.key(0), image, tokens)
    >>> logits.shape
    (2, 1)
  """

  config: CLIPConfig = CLIPConfig()
  remat: bool = False
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    """Makes the encoders."""
    is_vit = isinstance(self.config.vision, ViTConfig)
    encoder = VisionTransformer if is_vit else ModifiedResNet
    options = {'remat': self.remat, 'dtype': self.dtype}
    self.image_encoder = encoder(self.config, **options)
    self.text_encoder = TextTransformer(self.config, **options)
    self.logit_scale = self.param(
      'logit_scale', nn.initializers.constant(_LOGIT_SCALE), ()
    )

  def encode_image(self, image: jax.Array) -> jax.Array:
    """Embeds images.

    Args:
      image: float [B, H, W, 3 or 1] in [0, 1], with H and W the `image_size`.

    Returns:
      float32 [B, D], l2-normalised.

    Raises:
      ValueError: if the images have another size.
    """
    image = inputs.rgb(image)
    size = self.config.image_size
    if image.shape[1:3] != (size, size):
      raise ValueError(
        f'this CLIP takes images of {size} x {size} pixels; got '
        f'{image.shape[1]} x {image.shape[2]}. Resize or crop them first.'
      )
    mean, std = (
      jnp.asarray(value, jnp.float32).reshape(1, 1, 1, 3)
      for value in (self.config.mean, self.config.std)
    )
    return normalization.l2_normalize(self.image_encoder((image - mean) / std))

  def encode_text(self, tokens: jax.Array) -> jax.Array:
    """Embeds texts.

    Args:
      tokens: int32 [B, N] with N at most `context_length`, as of
        `load_tokenizer`.

    Returns:
      float32 [B, D], l2-normalised.

    Raises:
      ValueError: if the tokens have another shape.
    """
    most = self.config.context_length
    if tokens.ndim != 2 or tokens.shape[1] > most:
      raise ValueError(
        f'tokens must be [B, N] with N at most {most}; got {tokens.shape}.'
      )
    return normalization.l2_normalize(self.text_encoder(tokens))

  def __call__(self, image: jax.Array, tokens: jax.Array) -> jax.Array:
    """Returns the logits of all pairs of images and texts.

    Args:
      image: see `encode_image`.
      tokens: see `encode_text`.

    Returns:
      float32 [B_image, B_text], cosine similarities times exp(logit_scale).
    """
    similarity = self.encode_image(image) @ self.encode_text(tokens).T
    return jnp.exp(self.logit_scale) * similarity
