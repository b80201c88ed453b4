"""Norms, and what a condition does to what is normalised."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp


def norm(
  kind: Literal['layer', 'rms'],
  epsilon: float,
  *,
  bias: bool = True,
  affine: bool = True,
  **fields,
) -> nn.Module:
  """Returns LayerNorm or RMSNorm, over the last axis.

  Args:
    kind: 'layer' or 'rms'.
    epsilon: added to the variance.
    bias: whether LayerNorm has a bias.
    affine: whether there is a scale (and a bias) at all.
    **fields: of the module: name, dtypes.
  """
  if kind == 'rms':
    return nn.RMSNorm(epsilon=epsilon, use_scale=affine, **fields)
  return nn.LayerNorm(
    epsilon=epsilon, use_bias=bias and affine, use_scale=affine, **fields
  )


class Modulation(nn.Module):
  """What a condition does to a layer: shifts, scales, gates.

  Attributes:
    features: D.
    parts: how many vectors.
    kernel_init: with zeros, the default, it does nothing at first.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  features: int
  parts: int
  kernel_init: nn.initializers.Initializer = nn.initializers.zeros_init()
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, condition: jax.Array) -> list[jax.Array]:
    """Maps [B, C] to `parts` vectors [B, 1, features]."""
    x = nn.Dense(
      self.parts * self.features,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
      name='dense',
    )(nn.silu(condition))
    return jnp.split(x[:, None], self.parts, axis=-1)
