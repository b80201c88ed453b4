"""The cache of a stack of transformer blocks."""

import functools

import jax
import jax.numpy as jnp

from vq_jax.layers.attention_cache import KVCache
from vq_jax.layers.transformer_config import TransformerConfig

Cache = KVCache | tuple[KVCache, ...]


def make_cache(
  config: TransformerConfig, batch_size: int, num_tokens: int
) -> Cache:
  """Returns an empty cache of a stack.

  Returns:
    keys and values [layers, B, heads, N, head_dim], or with `scan=False` those
    of each layer, [B, heads, N, head_dim].
  """
  shape = batch_size, config.heads, num_tokens, config.head_width
  make = functools.partial(KVCache.zeros, dtype=config.dtype)
  if config.scan:
    return make((config.layers, *shape))
  return tuple(make(shape) for _ in range(config.layers))


def write(
  cache: Cache, new: Cache, position: jax.Array, after: jax.Array
) -> Cache:
  """Writes the keys and values of a token, when all of the cache is read.

  Args:
    cache: see `make_cache`.
    new: the same of one token.
    position: int32 [], its position.
    after: [B, 1, D], the output of the stack.
  """
  if isinstance(cache, KVCache):
    assert isinstance(new, KVCache)
    return cache.write(new, position)
  # XLA copies a cache unless what is written depends on the last reading.
  last = after[:, :, :1, None]
  assert not isinstance(new, KVCache)
  after_last = jax.tree.map(
    lambda n: jnp.where(position < 0, last, n), tuple(new)
  )
  return tuple(
    c.write(n, position) for c, n in zip(cache, after_last, strict=True)
  )
