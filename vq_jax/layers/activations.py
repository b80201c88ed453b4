"""Activations of transformers, by the names that configs give them."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax

gelu = functools.partial(nn.gelu, approximate=True)


def quick_gelu(x: jax.Array) -> jax.Array:
  """Returns x * sigmoid(1.702 x), an approximation of GELU."""
  return x * nn.sigmoid(1.702 * x)


# 'swiglu' multiplies the result by a second projection of the input.
BY_NAME: dict[str, Callable[[jax.Array], jax.Array]] = {
  'gelu': gelu,
  'gelu_exact': functools.partial(nn.gelu, approximate=False),
  'quick_gelu': quick_gelu,
  'swiglu': nn.silu,
  'tanh': nn.tanh,
}
