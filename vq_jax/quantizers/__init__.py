"""Vector -> code. Each quantizer: `quantizer(z, train=...) -> Quantized`.

`quantizer.lookup(indices)` gives the codes back, `quantizer.codebook_size`
and `quantizer.code_dim` are fields.
"""

from vq_jax.quantizers.base import Quantized
from vq_jax.quantizers.ema import EMAVectorQuantizer
from vq_jax.quantizers.vq import VectorQuantizer

__all__ = ['EMAVectorQuantizer', 'Quantized', 'VectorQuantizer']
