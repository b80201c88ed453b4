"""Activations of transformers, by the names that configs give them.

They compute in float32, whatever the dtype of their argument. In bfloat16 each
of the operations would round its result, which takes a CPU longer, too.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

Activation = Callable[[jax.Array], jax.Array]


def _in_float32(function: Activation) -> Activation:
  """Returns a function that computes in float32 or a wider dtype."""

  @functools.wraps(function)
  def compute(x: jax.Array) -> jax.Array:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return function(x.astype(wide)).astype(x.dtype)

  return compute


@_in_float32
def gelu(x: jax.Array) -> jax.Array:
  """Returns the approximation of GELU by tanh."""
  return nn.gelu(x, approximate=True)


@_in_float32
def gelu_exact(x: jax.Array) -> jax.Array:
  """Returns GELU."""
  return nn.gelu(x, approximate=False)


@_in_float32
def quick_gelu(x: jax.Array) -> jax.Array:
  """Returns x * sigmoid(1.702 x), an approximation of GELU."""
  return x * nn.sigmoid(1.702 * x)


# 'swiglu' multiplies the result by a second projection of the input.
BY_NAME: dict[str, Activation] = {
  'gelu': gelu,
  'gelu_exact': gelu_exact,
  'quick_gelu': quick_gelu,
  'swiglu': _in_float32(nn.silu),
  'tanh': _in_float32(nn.tanh),
}
