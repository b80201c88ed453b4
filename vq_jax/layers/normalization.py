"""Normalisation layers, and the adaptive LayerNorm of DiT."""

import functools
from typing import Any
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers.projection import Projection

_SMALLEST_NORM = 1e-12
_LayerNorm = nn.remat(nn.LayerNorm, prevent_cse=False)
_RMSNorm = nn.remat(nn.RMSNorm, prevent_cse=False)


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

  The backward pass keeps the input alone and computes the rest again: to write
  and read what automatic differentiation would keep takes longer.

  Args:
    kind: 'layer' or 'rms'.
    epsilon: added to the variance.
    bias: whether a LayerNorm with parameters has a bias.
    affine: whether the layer has parameters at all.
    name: of the module.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  common: dict[str, Any] = {
    'name': name,
    'dtype': dtype,
    'param_dtype': param_dtype,
  }
  if kind == 'rms':
    return _RMSNorm(epsilon=epsilon, use_scale=affine, **common)
  return _LayerNorm(
    epsilon=epsilon, use_bias=bias and affine, use_scale=affine, **common
  )


def l2_normalize(x: jax.Array) -> jax.Array:
  """Returns x / |x|; zero for a zero vector, with a gradient of zero.

  Args:
    x: float32 [..., D].
  """
  square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  nonzero = square > _SMALLEST_NORM**2
  return jnp.where(nonzero, x / jnp.sqrt(jnp.where(nonzero, square, 1.0)), 0.0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def group_norm_swish(
  x: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  groups: int,
  epsilon: float,
) -> jax.Array:
  """Returns swish(group_norm(x)).

  Statistics are float32 and take one pass over x. The backward pass keeps x
  alone: automatic differentiation would write and read four arrays of the size
  of x, which takes longer than to compute them again.

  Args:
    x: float [B, H, W, C].
    scale: float [C].
    bias: float [C].
    groups: groups of channels, a divisor of C.
    epsilon: added to the variance.

  Returns:
    an array of the shape and dtype of x.

  Raises:
    ValueError: if the groups do not divide C.
  """
  if x.shape[-1] % groups:
    raise ValueError(
      f'the groups of GroupNorm must divide its channels; got {groups} groups '
      f'and {x.shape[-1]} channels.'
    )
  return _group_norm_swish(x, scale, bias, groups, epsilon)[0]


# Inlined, so it is no call in the program, but it is traced once for all layers
# of one shape.
@functools.partial(jax.jit, static_argnums=(3, 4), inline=True)
def _group_norm_swish(x, scale, bias, groups, epsilon):
  """Returns the output and the residuals of the backward pass."""
  wide = x.astype(jnp.float32)
  mean = _group_mean(wide.mean((1, 2)), groups)
  square = _group_mean(jnp.square(wide).mean((1, 2)), groups)
  rstd = jax.lax.rsqrt(jnp.maximum(square - mean**2, 0.0) + epsilon)
  slope = rstd * scale[None]
  y = _affine(wide, slope, bias[None] - mean * slope)
  return nn.swish(y).astype(x.dtype), (x, scale, bias, mean, rstd)


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def _group_norm_swish_backward(groups, epsilon, residuals, gradient):
  """Returns the gradients of x, scale and bias."""
  del epsilon
  x, scale, bias, mean, rstd = residuals
  # Not written as in the forward pass: XLA would find both to be the same, and
  # keep y from there.
  n = _affine(x.astype(jnp.float32), rstd, -mean * rstd)
  y = n * jnp.expand_dims(scale, (0, 1, 2)) + jnp.expand_dims(bias, (0, 1, 2))
  gate = nn.sigmoid(y)
  dy = gradient.astype(jnp.float32) * gate * (1 + y * (1 - gate))
  sum_dy, sum_dy_n = dy.sum((1, 2)), (dy * n).sum((1, 2))
  pixels = x.shape[1] * x.shape[2]
  mean_dy = _group_mean(scale[None] * sum_dy, groups) / pixels
  mean_dy_n = _group_mean(scale[None] * sum_dy_n, groups) / pixels
  # dx = rstd (scale dy - mean_dy - n mean_dy_n)
  dx = _affine(dy, rstd * scale[None], -rstd * mean_dy)
  dx -= n * jnp.expand_dims(rstd * mean_dy_n, (1, 2))
  return (
    dx.astype(x.dtype),
    sum_dy_n.sum(0).astype(scale.dtype),
    sum_dy.sum(0).astype(bias.dtype),
  )


group_norm_swish.defvjp(_group_norm_swish, _group_norm_swish_backward)


def _group_mean(x: jax.Array, groups: int) -> jax.Array:
  """Replaces channels [B, C] by the mean of their group."""
  b, c = x.shape
  means = x.reshape(b, groups, -1).mean(-1)
  return jnp.repeat(means, c // groups, axis=1)


def _affine(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
  """Returns x [B, H, W, C] times a scale plus a shift, [B, C] each."""
  return x * jnp.expand_dims(scale, (1, 2)) + jnp.expand_dims(shift, (1, 2))


def modulate(x: jax.Array, shift: jax.Array, scale: jax.Array) -> jax.Array:
  """Returns x * (1 + scale) + shift, computed in float32.

  Args:
    x: float [B, N, D].
    shift: float [B, 1, D].
    scale: float [B, 1, D].

  Returns:
    an array of the dtype of x.
  """
  shift, scale = shift.astype(jnp.float32), scale.astype(jnp.float32)
  return (x * (1 + scale) + shift).astype(x.dtype)


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
    x = Projection(
      (self.outputs * self.features,),
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
      name='dense',
    )(nn.silu(condition))
    return jnp.split(x[:, None], self.outputs, axis=-1)
