"""Vector -> code. Each quantizer: `quantizer(z, train=...) -> Quantized`.

`quantizer.lookup(indices)` gives the codes back. `quantizer.codebook_size` is
the number K of codes an index chooses from, `code_dim` the width D of a code,
and `index_shape` the shape of a vector's index: () or, where a vector is
described by several, (G,).
"""

from vq_jax.quantizers.base import Quantized
from vq_jax.quantizers.ema import EMAVectorQuantizer
from vq_jax.quantizers.vq import VectorQuantizer

__all__ = ['EMAVectorQuantizer', 'Quantized', 'VectorQuantizer']
