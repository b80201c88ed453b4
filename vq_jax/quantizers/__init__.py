"""Quantizers, which map vectors to discrete tokens and back.

`quantizer(z, train=...)` maps latents [..., D] to `Quantized`: their codes, the
indices of the codes, a loss and statistics. `quantizer.lookup(indices)` returns
the codes of indices. `codebook_size` is K, the number of values of an index,
`code_dim` is D, and `index_shape` is the shape of the index of one vector: (),
or (G, ...) for the groups or levels of a quantizer of several codebooks.
"""

from vq_jax.quantizers.base import Quantized
from vq_jax.quantizers.base import Quantizer
from vq_jax.quantizers.bsq import BSQ
from vq_jax.quantizers.codebook import apply_replacements
from vq_jax.quantizers.ema import EMAVectorQuantizer
from vq_jax.quantizers.factorized import FactorizedVectorQuantizer
from vq_jax.quantizers.fsq import FSQ
from vq_jax.quantizers.grouped import GroupedQuantizer
from vq_jax.quantizers.gumbel import GumbelQuantizer
from vq_jax.quantizers.ibq import IBQ
from vq_jax.quantizers.lfq import LFQ
from vq_jax.quantizers.residual import ResidualQuantizer
from vq_jax.quantizers.simvq import SimVQ
from vq_jax.quantizers.vq import VectorQuantizer

__all__ = [
  'BSQ',
  'FSQ',
  'IBQ',
  'LFQ',
  'EMAVectorQuantizer',
  'FactorizedVectorQuantizer',
  'GroupedQuantizer',
  'GumbelQuantizer',
  'Quantized',
  'Quantizer',
  'ResidualQuantizer',
  'SimVQ',
  'VectorQuantizer',
  'apply_replacements',
]
