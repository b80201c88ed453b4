"""Attention from one token to a cache of the tokens before it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.layers import attention_on_mesh
from vq_jax.layers.attention_cache import KVCache

SHAPE = (2, 3, 130, 4)  # [B, heads, N, head_dim]


def make_arrays(*shapes, dtype=jnp.float32):
  rng = np.random.default_rng(0)
  return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


# On a CPU the cache is read up to 64, 128 or 130, by the position.
@pytest.mark.parametrize('position', [0, 1, 63, 64, 127, 128, 129])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_a_token_reads_the_tokens_before_it(position, dtype):
  b, heads, _, width = SHAPE
  own = (b, heads, 1, width)
  key, value = make_arrays(SHAPE, SHAPE)
  query, own_key, own_value = make_arrays((b, 1, heads, width), own, own)
  later = jnp.arange(SHAPE[2])[:, None] >= position
  cache = KVCache(*(jnp.where(later, 1e9, x) for x in (key, value)))
  new = KVCache(own_key, own_value)
  got = jax.jit(KVCache.attend)(
    *jax.tree.map(lambda x: x.astype(dtype), (cache, query, new)), position
  )
  key = jnp.concatenate([key[:, :, :position], own_key], axis=2)
  value = jnp.concatenate([value[:, :, :position], own_value], axis=2)
  logits = jnp.einsum('bqhd,bhnd->bhqn', query, key) / 2
  want = jnp.einsum('bhqn,bhnd->bqhd', jax.nn.softmax(logits), value)
  assert got.dtype == dtype
  np.testing.assert_allclose(
    got.astype(jnp.float32), want, atol=1e-5 if dtype == jnp.float32 else 0.03
  )


@pytest.mark.parametrize(
  ('platform', 'dtype', 'want'),
  [
    ('cpu', jnp.bfloat16, jnp.float32),
    ('cpu', jnp.float32, jnp.float32),
    ('tpu', jnp.bfloat16, jnp.bfloat16),
    (None, jnp.bfloat16, jnp.bfloat16),
  ],
)
def test_on_a_cpu_it_is_not_bfloat16(platform, dtype, want, monkeypatch):
  monkeypatch.setattr(attention_on_mesh, 'get_platform', lambda: platform)
  cache = KVCache.zeros(SHAPE, dtype)
  assert cache.key.dtype == cache.value.dtype == want
