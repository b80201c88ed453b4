"""Vector -> code. Each quantizer: `quantizer(z, train=...) -> Quantized`.

`quantizer.lookup(indices)` gives the codes back. `quantizer.codebook_size` is
the number K of codes an index chooses from, `code_dim` the width D of a code,
and `index_shape` the shape of a vector's index: () or, where a vector is
described by several, (G,) or, nested, (G, *inner).
"""

from vq_jax.quantizers.base import Quantized
from vq_jax.quantizers.bsq import BSQ
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
  'ResidualQuantizer',
  'SimVQ',
  'VectorQuantizer',
]
