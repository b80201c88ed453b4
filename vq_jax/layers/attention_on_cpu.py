"""Attention without a gradient on CPUs, in parts that fit into a cache."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vq_jax.layers import attention_on_mesh
from vq_jax.layers import query_groups

# The most weights that are computed at a time, 5 MiB: 16 heads of 257 tokens.
_MOST_WEIGHTS = 5 * 2**18


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def attend(
  causal: bool,
  elsewhere: Callable[..., jax.Array],
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
) -> jax.Array:
  """Computes attention in parts where the program runs on a CPU.

  A part has some rows, one for each example and head. XLA:CPU multiplies slowly
  where the heads come after the tokens, and would write and read the logits of
  all rows several times.

  `attention_on_mesh.is_available` must hold. A training gains nothing from
  this, so `elsewhere` computes what is differentiated.

  Args:
    causal: whether a token attends only to itself and to earlier tokens.
    elsewhere: computes the same from the arguments that follow.
    query: [B, N, heads, head_dim].
    key: [B, M, heads, head_dim].
    value: [B, M, heads, head_dim].

  Returns:
    [B, N, heads, head_dim].
  """

  def on_cpu(*arrays):
    arrays = [jnp.swapaxes(x, 1, 2) for x in arrays]
    compute = functools.partial(_compute_parts, causal)
    return jnp.swapaxes(attention_on_mesh.split(compute, *arrays), 1, 2)

  return jax.lax.platform_dependent(
    query, key, value, cpu=on_cpu, default=elsewhere
  )


@attend.defjvp
def _differentiate(causal, elsewhere, arrays, tangents):
  del causal
  return jax.jvp(elsewhere, arrays, tangents)


def _compute_parts(causal, *arrays):
  """Returns the attention of [B, heads, N, head_dim], part by part."""
  (b, heads, n, width), m = arrays[0].shape, arrays[1].shape[2]
  rows = _count_rows(b * heads, n * m)
  parts = [x.reshape(-1, rows, *x.shape[2:]) for x in arrays]
  y = jax.lax.map(lambda x: _compute(causal, *x), parts)
  return y.reshape(b, heads, n, width)


def _count_rows(rows: int, weights: int) -> int:
  """Returns how many rows with so many weights each make a part."""
  most = max(1, min(rows, _MOST_WEIGHTS // weights))
  return next(n for n in range(most, 0, -1) if rows % n == 0)


def _compute(causal, query, key, value):
  """Returns the attention of [rows, N, head_dim]."""
  parts = []
  for start, end in query_groups.make_groups(query.shape[1], causal):
    read = end if causal else None  # the keys up to the last query
    logits = jnp.einsum(
      'rnd,rmd->rnm',
      query[:, start:end],
      key[:, :read],
      preferred_element_type=jnp.float32,
    ) / math.sqrt(query.shape[-1])
    if causal:
      earlier = jnp.tri(end - start, end, start, dtype=bool)
      logits = jnp.where(earlier[None], logits, jnp.finfo(logits.dtype).min)
    weights = jnp.exp(logits - logits.max(-1, keepdims=True))
    y = jnp.einsum(
      'rnm,rmd->rnd',
      weights.astype(value.dtype),
      value[:, :read],
      preferred_element_type=jnp.float32,
    )
    # Later than a softmax divides, since there are fewer outputs than weights.
    parts.append(y / weights.sum(-1, keepdims=True))
  return jnp.concatenate(parts, axis=1).astype(value.dtype)
