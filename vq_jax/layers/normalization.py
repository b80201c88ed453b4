"""Normalisation layers, and the adaptive LayerNorm of DiT."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp


def make_norm(
  kind: Literal['layer', 'rms'],
  epsilon: float,
  *,
  bias: bool = True,
  affine: bool = True,
  name: str | None = None,
  dtype: jnp.dtype = jnp.float32,
  param_dtype: jnp.dtype = jnp.float32,
) -> nn.LayerNorm | nn.RMSNorm:
  """Returns LayerNorm or RMSNorm over the last axis.

  Args:
    kind: 'layer' or 'rms'.
    epsilon: added to the variance.
    bias: whether a LayerNorm with parameters has a bias.
    affine: whether the layer has parameters at all.
    name: of the module.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  common = {'name': name, 'dtype': dtype, 'param_dtype': param_dtype}
  if kind == 'rms':
    return nn.RMSNorm(epsilon=epsilon, use_scale=affine, **common)
  return nn.LayerNorm(
    epsilon=epsilon, use_bias=bias and affine, use_scale=affine, **common
  )


class AdaLN(nn.Module):
  """The linear layer of adaptive LayerNorm: condition -> shift, scale, gate.

  With `kernel_init` zeros this is adaLN-zero, Peebles and Xie 2022, section
  3.2 (https://arxiv.org/abs/2212.09748): all outputs begin at zero.

  Attributes:
    features: D, the width of each output.
    outputs: the number of outputs; 3 for shift, scale and gate of one layer.
    kernel_init: initializer of the kernel.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  features: int
  outputs: int
  kernel_init: nn.initializers.Initializer = nn.initializers.zeros_init()
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, condition: jax.Array) -> list[jax.Array]:
    """Maps a condition [B, C] to a list of arrays [B, 1, D]."""
    x = nn.Dense(
      self.outputs * self.features,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
      name='dense',
    )(nn.silu(condition))
    return jnp.split(x[:, None], self.outputs, axis=-1)
