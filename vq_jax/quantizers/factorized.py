"""ViT-VQGAN's quantizer: few dimensions, on the unit sphere."""

import flax.linen as nn

from vq_jax.layers import initializers
from vq_jax.quantizers import vq
from vq_jax.utils import fields


class FactorizedVectorQuantizer(vq.VectorQuantizer):
  """Nearest code by cosine, in a space of few dimensions (Yu et al. 2022, 3.2).

  This is `VectorQuantizer` with that paper's choices as defaults: 32
  dimensions, both sides normalised, codes drawn from N(0, 1). The factorization
  itself, the projection from the encoder's width to `code_dim` and back, is the
  linear layer with which every autoencoder meets its quantizer.

  One default is not the paper's: dead codes are revived. On small pictures and
  few steps the paper's recipe alone leaves most codes unused. Set
  `dead_code_threshold=0` for the plain method, which also keeps no state.

  Attributes:
    codebook_size: K.
    code_dim: D.
    l2_normalize: see `VectorQuantizer`, as for all fields that it has.
    dead_code_threshold: see `EMAVectorQuantizer`.
    codebook_init: see `VectorQuantizer`.
  """

  code_dim: fields.PositiveInt = 32
  l2_normalize: bool = True
  dead_code_threshold: fields.NonNegativeFloat = 0.1
  codebook_init: nn.initializers.Initializer = initializers.normal
