"""Self-attention, with what transformers and convolutional towers differ in."""

import math
from typing import Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import positions


@flax.struct.dataclass
class KVCache:
  """Keys and values of a sequence, as far as they are known.

  Each head's lie together, as the products with queries want them.

  Attributes:
    key: [..., B, heads, N, head_dim].
    value: likewise.
  """

  key: jax.Array
  value: jax.Array

  @classmethod
  def zeros(cls, shape: tuple[int, ...], dtype: jnp.dtype) -> 'KVCache':
    """Returns a cache of that shape, of which nothing is known."""
    return cls(key=jnp.zeros(shape, dtype), value=jnp.zeros(shape, dtype))

  @classmethod
  def of(cls, key: jax.Array, value: jax.Array) -> 'KVCache':
    """Returns the cache of projections [B, N, heads, head_dim]."""
    return cls(key=jnp.swapaxes(key, 1, 2), value=jnp.swapaxes(value, 1, 2))

  def write(self, rows: 'KVCache', position: jax.Array) -> 'KVCache':
    """Writes the keys and values of the tokens from `position` on."""
    return jax.tree.map(
      lambda old, new: jax.lax.dynamic_update_slice_in_dim(
        old, new.astype(old.dtype), position, axis=old.ndim - 2
      ),
      self,
      rows,
    )

  def attend(
    self, query: jax.Array, own: 'KVCache', position: jax.Array
  ) -> jax.Array:
    """Attends from one token to those before it, and to itself.

    The token's own key and value stay apart: to write them first would copy
    the cache for each layer.

    Args:
      query: [B, 1, heads, head_dim].
      own: of the token, [B, heads, 1, head_dim].
      position: int32 [], its place; what stands there and later is of no
        account.

    Returns:
      [B, 1, heads, head_dim].
    """
    query = jnp.swapaxes(query, 1, 2) / math.sqrt(query.shape[-1])
    logits = jnp.einsum('bhqd,bhnd->bhqn', query, self.key)
    before = jnp.expand_dims(
      jnp.arange(self.key.shape[2]) < position, (0, 1, 2)
    )
    logits = jnp.where(before, logits, jnp.finfo(logits.dtype).min)
    of_own = jnp.einsum('bhqd,bhqd->bhq', query, own.key)[..., None]
    weights = nn.softmax(jnp.concatenate([logits, of_own], axis=-1))
    seen = jnp.einsum('bhqn,bhnd->bhqd', weights[..., :-1], self.value)
    return jnp.swapaxes(seen + weights[..., -1:] * own.value, 1, 2)


class SelfAttention(nn.Module):
  """Multi-head attention of a sequence to itself.

  The same variables and numbers as `nn.MultiHeadDotProductAttention`, which
  cannot leave out the biases of the projections alone, as ViT-VQGAN does.

  Attributes:
    heads: attention heads.
    head_dim: width of a head; the input's width over the heads by default.
    qkv_bias: whether the three projections have biases.
    out_bias: whether the last layer has one.
    qk_norm: how queries and keys are normalised by RMSNorm, which keeps the
      logits from growing: each 'head' by itself with a learned scale, or the
      whole 'width' without one, as Halton-MaskGIT; None leaves them.
    causal: whether a token sees only itself and those before it.
    dropout: rate on the attention weights.
    broadcast_dropout: whether all examples and heads of a batch drop the same
      weights, as flax and the models that Google trained with it do; else each
      its own, as PyTorch.
    kernel_init: initializer of the four kernels.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  heads: int
  head_dim: int | None = None
  qkv_bias: bool = True
  out_bias: bool = True
  qk_norm: Literal['head', 'width'] | None = None
  causal: bool = False
  dropout: float = 0.0
  broadcast_dropout: bool = True
  kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    angles: jax.Array | None = None,
    cache: KVCache | None = None,
    position: jax.Array | None = None,
    train: bool = False,
  ) -> tuple[jax.Array, KVCache | None]:
    """Attends to the whole sequence or, with a cache, from one token of it.

    Args:
      x: [B, N, D], a sequence; with a cache [B, 1, D], a token.
      angles: float32 [N, head_dim / 2], by which queries and keys are turned;
        see `positions.rotate`. None leaves them.
      cache: see `KVCache`; the token attends to those before it, and to itself.
      position: int32 [], the token's place in the cached sequence.
      train: whether dropout acts, drawing from the stream 'dropout'.

    Returns:
      What x becomes, and with a cache the token's own key and value.

    Raises:
      ValueError: if D does not divide into the heads.
    """
    query, key, value = self._project(x, angles)
    own = None
    if cache is not None:
      own = KVCache.of(key, value)
      y = cache.attend(query, own, position)
    else:
      y = self._attend(query, key, value, train)
    y = nn.DenseGeneral(
      x.shape[-1],
      axis=(-2, -1),
      use_bias=self.out_bias,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
      name='out',
    )(y)
    return y, own

  def _attend(self, query, key, value, train):
    """Returns what each token of a sequence finds."""
    mask = None
    if self.causal:
      mask = jnp.expand_dims(jnp.tri(query.shape[1], dtype=bool), (0, 1))
    drops = train and self.dropout > 0
    return nn.dot_product_attention(
      query,
      key,
      value,
      mask=mask,
      dropout_rng=self.make_rng('dropout') if drops else None,
      dropout_rate=self.dropout,
      broadcast_dropout=self.broadcast_dropout,
      deterministic=not drops,
      dtype=self.dtype,
    )

  def _project(self, x, angles):
    """Returns queries, keys and values, [B, N, heads, head_dim]."""
    width = x.shape[-1]
    if self.head_dim is None and width % self.heads:
      raise ValueError(
        f'the width must be a multiple of the heads; got {width} and '
        f'{self.heads} heads. Change one, or set head_dim.'
      )
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    features = (self.heads, self.head_dim or width // self.heads)
    query, key, value = (
      nn.DenseGeneral(
        features,
        use_bias=self.qkv_bias,
        kernel_init=self.kernel_init,
        name=name,
        **types,
      )(x)
      for name in ('query', 'key', 'value')
    )
    if self.qk_norm == 'head':
      query = nn.RMSNorm(name='query_norm', **types)(query)
      key = nn.RMSNorm(name='key_norm', **types)(key)
    elif self.qk_norm == 'width':
      unit = nn.RMSNorm(
        epsilon=1e-5, use_scale=False, reduction_axes=(-2, -1), **types
      )
      query, key = unit(query), unit(key)
    if angles is not None:
      query = positions.rotate(query, angles)
      key = positions.rotate(key, angles)
    return query, key, value
