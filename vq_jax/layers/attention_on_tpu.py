"""Attention by the kernel for TPUs where it can be used, and its gradient."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vq_jax.layers import attention_on_mesh

# The most keys, for which the backward pass fits into the vector memory.
_MOST_KEYS = 1152


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def attend(
  causal: bool,
  keep_prob: float,
  elsewhere: Callable[..., jax.Array],
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  keep: jax.Array | None,
) -> jax.Array:
  """Computes attention by the kernel where the program runs on a TPU.

  `is_available` must hold.

  Args:
    causal: whether a token attends only to itself and to earlier tokens.
    keep_prob: the probability with which dropout keeps a weight.
    elsewhere: computes the same from the arguments that follow.
    query: [B, N, heads, head_dim].
    key: [B, M, heads, head_dim].
    value: [B, M, heads, head_dim].
    keep: bool [1, 1, N, M], the weights that dropout keeps, or None for all.

  Returns:
    [B, N, heads, head_dim].
  """

  def on_tpu(*arrays):
    kernel = _load_kernel('forward', causal, keep_prob)
    return _last_to_second(attention_on_mesh.split(kernel, *_arrange(*arrays)))

  return jax.lax.platform_dependent(
    query, key, value, keep, tpu=on_tpu, default=elsewhere
  )


def _attend_forward(causal, keep_prob, elsewhere, query, key, value, keep):
  y = attend(causal, keep_prob, elsewhere, query, key, value, keep)
  return y, (query, key, value, keep)


def _attend_backward(causal, keep_prob, elsewhere, arguments, gradient):
  def on_tpu(arguments, gradient):
    kernel = _load_kernel('backward', causal, keep_prob)
    found = attention_on_mesh.split(
      kernel, *_arrange(*arguments), _second_to_last(gradient)
    )
    return tuple(map(_last_to_second, found))

  def on_others(arguments, gradient):
    *differentiated, keep = arguments
    _, pull_back = jax.vjp(lambda *x: elsewhere(*x, keep), *differentiated)
    return pull_back(gradient)

  found = jax.lax.platform_dependent(
    arguments, gradient, tpu=on_tpu, default=on_others
  )
  return *found, None


attend.defvjp(_attend_forward, _attend_backward)


def _second_to_last(x: jax.Array) -> jax.Array:
  """Maps [B, N, heads, head_dim] to [B, heads, head_dim, N]."""
  return jnp.moveaxis(x, 1, 3)


def _last_to_second(x: jax.Array) -> jax.Array:
  """Maps [B, heads, head_dim, N] to [B, N, heads, head_dim]."""
  return jnp.moveaxis(x, 3, 1)


def _arrange(query, key, value, keep):
  """Returns the arrays as the kernel expects them."""
  mask = None if keep is None else keep[0, 0].T
  return *map(_second_to_last, (query, key, value)), mask


def is_available(
  query: jax.Array, key: jax.Array, keep: jax.Array | None
) -> bool:
  """Returns whether the kernel can compute attention of these shapes here.

  `attention_on_mesh.is_available` must hold, too.

  Args:
    query: [B, N, heads, head_dim].
    key: [B, M, heads, head_dim].
    keep: [..., N, M], the mask of dropout; the kernel needs one mask for all
      examples and heads.
  """
  if keep is not None and math.prod(keep.shape[:-2]) > 1:
    return False
  # Whole tiles of bfloat16.
  if query.shape[3] % 16 or key.shape[1] > _MOST_KEYS:
    return False
  return attention_on_mesh.is_available('tpu', query)


def _load_kernel(name: str, causal: bool, keep_prob: float):
  """Returns a function of `attention_kernel`; importing Pallas takes time."""
  from vq_jax.layers import attention_kernel

  settings = attention_kernel.Settings(causal=causal, keep_prob=keep_prob)
  return functools.partial(getattr(attention_kernel, name), settings)
