"""The quantizer of ViT-VQGAN: a codebook of few dimensions and unit length."""

import flax.linen as nn

from vq_jax.layers import initializers
from vq_jax.quantizers import vq
from vq_jax.utils import fields


class FactorizedVectorQuantizer(vq.VectorQuantizer):
  """`VectorQuantizer` with the choices of ViT-VQGAN as defaults.

  https://arxiv.org/abs/2110.04627, 3.2: codes of 32 dimensions, latents and
  codes normalised to unit length, and a codebook drawn from N(0, 1). The
  factorization itself, a projection from the encoder's width to `code_dim` and
  back, is the linear layer that every autoencoder has on either side of its
  quantizer.

  One default differs from the paper: dead codes are revived, because on small
  images and in few steps the paper's recipe leaves most codes unused. With
  `dead_code_threshold=0` the quantizer is the paper's, and has no state.

  The attributes are those of `VectorQuantizer`.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> quantizer = quantizers.FactorizedVectorQuantizer(codebook_size=8)
    >>> z = jax.random.normal(jax.random.key(0), (4, 32))
    >>> quantized, _ = quantizer.init_with_output(jax.random.key(1), z)
    >>> quantized.indices.shape
    (4,)
  """

  code_dim: fields.PositiveInt = 32
  l2_normalize: bool = True
  dead_code_threshold: fields.NonNegativeFloat = 0.1
  codebook_init: nn.initializers.Initializer = initializers.normal
