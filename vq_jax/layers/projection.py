"""Linear layers of tokens."""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import dtypes

from vq_jax.layers import products

# Columns of ones: v5e's compiler estimates fewer cycles for 8 than for 128.
_COLUMNS = 8


class Projection(nn.Module):
  """An `nn.DenseGeneral` whose gradients suit the device.

  Attributes:
    features: the axes of the output of a token, such as (heads, head_dim).
    axes: number of the last axes of the input that are contracted.
    use_bias: whether there is a bias.
    kernel_init: initializes the kernel, as a matrix.
    dtype: the dtype of the computation; None promotes.
    param_dtype: that of the parameters.

  Example:
    >>> import jax
    >>> from vq_jax.layers.projection import Projection
    >>> x = jax.numpy.ones((2, 5, 12))
    >>> y, _ = Projection((3, 4)).init_with_output(jax.random.key(0), x)
    >>> y.shape
    (2, 5, 3, 4)
  """

  features: tuple[int, ...]
  axes: int = 1
  use_bias: bool = True
  kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()
  dtype: jnp.dtype | None = None
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., *inputs] to [..., *features]."""
    inputs = x.shape[-self.axes :]

    def init(rng, shape, dtype):
      matrix = math.prod(inputs), math.prod(self.features)
      return self.kernel_init(rng, matrix, dtype).reshape(shape)

    shape = *inputs, *self.features
    kernel = self.param('kernel', init, shape, self.param_dtype)
    bias = None
    if self.use_bias:
      bias = self.param(
        'bias', nn.initializers.zeros, self.features, self.param_dtype
      )
    x, kernel, bias = dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    y = products.project(x, kernel, self.axes)
    return y if bias is None else add_bias(y, bias)


@jax.custom_vjp
def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
  """Adds a bias [*features] to [..., *features]."""
  return y + jnp.expand_dims(bias, tuple(range(y.ndim - bias.ndim)))


def _sum_over_tokens(gradient: jax.Array, axes: int) -> jax.Array:
  """Sums a gradient over all but the last axes.

  The sum is float32. Automatic differentiation adds in the dtype of the
  gradient, and in bfloat16 this takes XLA:CPU 60 times as long.
  """
  return gradient.sum(tuple(range(gradient.ndim - axes)))


def _multiply_by_ones(gradient: jax.Array) -> jax.Array:
  """Returns the same of [B, N, heads, head_dim], by a product.

  On TPUs the kernel of attention returns gradients with the tokens last, and to
  sum over the lanes of a register takes ten times as long as a product.
  """
  ones = jnp.ones((gradient.shape[1], _COLUMNS), gradient.dtype)
  sums = jnp.einsum(
    'bnhd,nk->bhdk', gradient, ones, preferred_element_type=jnp.float32
  )
  return sums[..., 0].sum(0).astype(gradient.dtype)


def _pull_back(
  bias: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
  sum_up = functools.partial(_sum_over_tokens, axes=bias.ndim)
  if gradient.ndim == 4 and bias.ndim == 2:
    total = jax.lax.platform_dependent(
      gradient, tpu=_multiply_by_ones, default=sum_up
    )
  else:
    total = sum_up(gradient)
  return gradient, total


add_bias.defvjp(lambda y, bias: (add_bias(y, bias), bias), _pull_back)
