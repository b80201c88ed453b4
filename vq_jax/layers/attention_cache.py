"""The key-value cache of attention."""

import functools
import math

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import attention_on_mesh
from vq_jax.layers import query_groups


@flax.struct.dataclass
class KVCache:
  """Keys and values of the tokens of a sequence that are already processed.

  The axis of the heads precedes that of the tokens, which is the layout of the
  products with queries.

  Attributes:
    key: [..., B, heads, N, head_dim].
    value: [..., B, heads, N, head_dim].
  """

  key: jax.Array
  value: jax.Array

  @classmethod
  def zeros(cls, shape: tuple[int, ...], dtype: jnp.dtype) -> 'KVCache':
    """Returns an empty cache, whose keys and values have that shape.

    On CPUs it is float32 instead of bfloat16. To write one token, XLA:CPU would
    convert all of it to float32 and back.
    """
    if dtype == jnp.bfloat16 and attention_on_mesh.get_platform() == 'cpu':
      dtype = jnp.float32
    return cls(key=jnp.zeros(shape, dtype), value=jnp.zeros(shape, dtype))

  @classmethod
  def from_projections(cls, key: jax.Array, value: jax.Array) -> 'KVCache':
    """Returns a cache of keys and values [B, N, heads, head_dim]."""
    return cls(key=jnp.swapaxes(key, 1, 2), value=jnp.swapaxes(value, 1, 2))

  def write(self, new: 'KVCache', position: jax.Array) -> 'KVCache':
    """Writes the keys and values of new tokens, the first at `position`."""
    return jax.tree.map(
      lambda old, new: jax.lax.dynamic_update_slice_in_dim(
        old, new.astype(old.dtype), position, axis=old.ndim - 2
      ),
      self,
      new,
    )

  def attend(
    self, query: jax.Array, new: 'KVCache', position: jax.Array
  ) -> jax.Array:
    """Attends from one token to the tokens before it and to itself.

    The token's own key and value are an argument: writing them into the cache
    first would copy the cache in every layer.

    Args:
      query: [B, 1, heads, head_dim].
      new: key and value of the token, [B, heads, 1, head_dim].
      position: int32 [], the position of the token. The content of the cache
        at this position and after it is ignored.

    Returns:
      [B, 1, heads, head_dim].
    """
    query = jnp.swapaxes(query, 1, 2) / math.sqrt(query.shape[-1])
    groups = query_groups.make_groups(self.key.shape[2], causal=True)
    (_, size), *_ = groups
    y = jax.lax.platform_dependent(
      self,
      query,
      new,
      position,
      # A product reads all of its factors, however many keys are masked.
      cpu=lambda *arguments: jax.lax.switch(
        position // size,
        [functools.partial(_attend_to_cache, end) for _, end in groups],
        *arguments,
      ),
      default=functools.partial(_attend_to_cache, None),
    )
    return jnp.swapaxes(y, 1, 2).astype(query.dtype)


def _attend_to_cache(
  end: int | None,
  cache: KVCache,
  query: jax.Array,
  new: KVCache,
  position: jax.Array,
) -> jax.Array:
  """Returns what `KVCache.attend` does, as [B, heads, 1, head_dim].

  Only the keys and values before `end` are read.
  """
  cache = jax.tree.map(lambda x: x[:, :, :end], cache)
  query = query.astype(cache.key.dtype)
  einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
  logits = einsum('bhqd,bhnd->bhqn', query, cache.key)
  earlier = jnp.arange(cache.key.shape[2]) < position
  logits = jnp.where(
    jnp.expand_dims(earlier, (0, 1, 2)), logits, jnp.finfo(logits.dtype).min
  )
  own_logit = einsum('bhqd,bhqd->bhq', query, new.key)[..., None]
  weights = nn.softmax(jnp.concatenate([logits, own_logit], axis=-1))
  weights = weights.astype(cache.value.dtype)
  y = einsum('bhqn,bhnd->bhqd', weights[..., :-1], cache.value)
  return y + weights[..., -1:] * new.value
