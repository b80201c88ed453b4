"""Multi-head self-attention."""

import functools
import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import attention_on_cpu
from vq_jax.layers import attention_on_mesh
from vq_jax.layers import attention_on_tpu
from vq_jax.layers import dropout
from vq_jax.layers import positions
from vq_jax.layers import products
from vq_jax.layers import query_groups
from vq_jax.layers.attention_cache import KVCache
from vq_jax.layers.projection import Projection
from vq_jax.utils.dtypes import Dtypes


def attend(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  *,
  causal: bool = False,
  keep: jax.Array | None = None,
  keep_prob: float = 1.0,
) -> jax.Array:
  """Returns softmax(query key^T / sqrt(head_dim)) value.

  Logits and softmax are float32. The backward pass computes them again: to
  write and read B x heads x N^2 weights takes longer, and most of the memory.
  On TPUs all is one kernel, see `attention_on_tpu.is_available`. On CPUs what
  is not differentiated is computed in parts, see `attention_on_cpu.attend`.
  The kernel has a gradient, but no forward-mode derivative (`jax.jvp`), nor
  has attention in bfloat16.

  Args:
    query: [B, N, heads, head_dim].
    key: [B, M, heads, head_dim].
    value: [B, M, heads, head_dim].
    causal: whether a token attends only to itself and to earlier tokens.
    keep: bool, which broadcasts to [B, heads, N, M]: the weights that dropout
      keeps; None keeps all.
    keep_prob: the probability with which dropout keeps a weight.

  Returns:
    [B, N, heads, head_dim].
  """
  compute = functools.partial(_compute, causal, keep_prob)
  groups = query_groups.make_groups(query.shape[1], causal)

  @functools.partial(jax.checkpoint, prevent_cse=False)
  def compute_groups(query, key, value, keep):
    parts = []
    dtype, wide = key.dtype, jnp.promote_types(key.dtype, jnp.float32)
    # The gradients of all groups are added in float32.
    key, value = key.astype(wide), value.astype(wide)
    for start, end in groups:
      read = end if causal else None  # the keys up to the last query
      kept = None if keep is None else keep[..., start:end, :read]
      read_key, read_value = (x[:, :read].astype(dtype) for x in (key, value))
      part = query[:, start:end], read_key, read_value, kept
      parts.append(compute(*part))
    return jnp.concatenate(parts, axis=1)

  if attention_on_tpu.is_available(query, key, keep):
    return attention_on_tpu.attend(
      causal, keep_prob, compute_groups, query, key, value, keep
    )
  if keep is None and attention_on_mesh.is_available('cpu', query):
    return attention_on_cpu.attend(
      causal, lambda *x: compute_groups(*x, None), query, key, value
    )
  return compute_groups(query, key, value, keep)


def _compute(causal, keep_prob, query, key, value, keep):
  """Returns what `attend` does; if causal, for the last N of M tokens."""
  logits = products.einsum(
    'bnhd,bmhd->bhnm', query, key, dtype=jnp.float32
  ) / math.sqrt(query.shape[-1])
  if causal:
    n, m = logits.shape[-2:]
    earlier = jnp.tri(n, m, m - n, dtype=bool)[None, None]
    logits = jnp.where(earlier, logits, jnp.finfo(logits.dtype).min)
  weights = nn.softmax(logits).astype(value.dtype)
  if keep is not None:
    weights *= keep.astype(value.dtype) / jnp.asarray(keep_prob, value.dtype)
  return products.einsum('bhnm,bmhd->bnhd', weights, value)


class SelfAttention(nn.Module):
  """Multi-head self-attention.

  It has the parameters and the outputs of `nn.MultiHeadDotProductAttention`,
  with these variants: only some projections have biases (ViT-VQGAN), rotary
  positions, normalisation of queries and keys, and a key-value cache.

  Attributes:
    heads: attention heads.
    head_dim: width of a head; the width of the input over `heads` by default.
    qkv_bias: whether the projections to queries, keys and values have biases.
    out_bias: whether the output projection has a bias.
    qk_norm: RMSNorm of queries and keys, which bounds the logits
      (https://arxiv.org/abs/2302.05442): over each 'head' with a learned
      scale, or over the whole 'width' without one (Halton-MaskGIT).
    causal: whether a token attends only to itself and to earlier tokens.
    dropout: rate on the attention weights.
    broadcast_dropout: whether all examples and heads of a batch share one
      dropout mask, the default of Flax; PyTorch draws one for each.
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
    queries: int | None = None,
    train: bool = False,
  ) -> tuple[jax.Array, KVCache | None]:
    """Attends within a sequence, or with a cache from one token of it.

    Args:
      x: [B, N, D]; with a cache [B, 1, D].
      angles: float32 [N, head_dim / 2], rotary position embeddings; see
        `positions.rotate`.
      cache: keys and values of the tokens before `position`.
      position: int32 [], the position of the token in the cached sequence.
      queries: if given, only the outputs of that many first tokens are
        computed; without a cache.
      train: whether dropout is active; it uses the stream 'dropout'.

    Returns:
      the output, of the shape of `x`, or [B, queries, D], and with a cache the
      key and the value of the token, which the caller writes into the cache.

    Raises:
      ValueError: if D is not a multiple of the heads and `head_dim` is None.
    """
    query, key, value = self._project(x, angles, queries)
    new_cache = None
    if cache is None:
      y = self._attend(query, key, value, train)
    else:
      new_cache = KVCache.from_projections(key, value)
      assert position is not None
      y = cache.attend(query, new_cache, position)
    y = Projection(
      x.shape[-1:],
      axes=2,
      use_bias=self.out_bias,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
      name='out',
    )(y)
    return y, new_cache

  def _attend(self, query, key, value, train):
    """Returns the weighted values [B, N, heads, head_dim]."""
    if not (train and self.dropout):
      return attend(query, key, value, causal=self.causal)
    n, m = query.shape[1], key.shape[1]
    rows = 1, 1
    if not self.broadcast_dropout:
      rows = len(query), self.heads
    keep_prob = 1 - self.dropout
    keep = dropout.keep_mask(self.make_rng('dropout'), keep_prob, (*rows, n, m))
    return attend(
      query, key, value, causal=self.causal, keep=keep, keep_prob=keep_prob
    )

  def _project(self, x, angles, queries):
    """Returns [B, queries, heads, head_dim], and keys and values of all."""
    width = x.shape[-1]
    if self.head_dim is None and width % self.heads:
      raise ValueError(
        f'width must be a multiple of heads; got width={width} and '
        f'heads={self.heads}. Change one of them, or set head_dim.'
      )
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    query, key, value = (
      Projection(
        (self.heads, self.head_dim or width // self.heads),
        use_bias=self.qkv_bias,
        kernel_init=self.kernel_init,
        name=name,
        **types,
      )(tokens)
      for name, tokens in (('query', x[:, :queries]), ('key', x), ('value', x))
    )
    if self.qk_norm == 'head':
      query = nn.RMSNorm(name='query_norm', **types)(query)
      key = nn.RMSNorm(name='key_norm', **types)(key)
    elif self.qk_norm == 'width':
      normalize = nn.RMSNorm(
        epsilon=1e-5, use_scale=False, reduction_axes=(-2, -1), **types
      )
      query, key = normalize(query), normalize(key)
    if angles is not None:
      query = positions.rotate(query, angles[:queries])
      key = positions.rotate(key, angles)
    return query, key, value
