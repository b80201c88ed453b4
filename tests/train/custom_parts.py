"""A quantizer and a data source that are named by their import path."""

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import data
from vq_jax import quantizers
from vq_jax.utils import fields


class SignQuantizer(quantizers.Quantizer):
  """Quantizes each number to its sign, with the straight-through estimator."""

  code_dim: fields.PositiveInt

  @property
  def codebook_size(self) -> int:
    return 2**self.code_dim

  def __call__(self, z, *, train=False):
    bits = (z > 0).astype(jnp.int32)
    indices = jnp.einsum('...d,d->...', bits, 2 ** jnp.arange(self.code_dim))
    codes = self.lookup(indices)
    return quantizers.Quantized(
      quantized=z + jax.lax.stop_gradient(codes - z),
      indices=indices,
      loss=jnp.zeros(()),
      stats={},
    )

  def lookup(self, indices):
    shifts = jnp.arange(self.code_dim).reshape((1,) * indices.ndim + (-1,))
    return (indices[..., None] >> shifts) % 2 * 2.0 - 1


class Stripes(data.ArraySource):
  """24 images of horizontal or vertical stripes."""

  def __init__(self, split: str):
    rows = np.tile([[0], [255]], (4, 8)).astype(np.uint8)
    images = np.stack([rows, rows.T] * 12)[..., None]
    super().__init__(images, np.arange(24) % 2, name=f'stripes {split}')
