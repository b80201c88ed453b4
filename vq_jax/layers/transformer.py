"""Transformer blocks, and a stack of them that compiles as one block."""

import functools
import math
from collections.abc import Callable
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import activations
from vq_jax.layers import attention
from vq_jax.layers import convolution
from vq_jax.layers import normalization
from vq_jax.layers import stacked_parameters
from vq_jax.layers import transformer_cache
from vq_jax.layers.attention_cache import KVCache
from vq_jax.layers.dropout import Dropout
from vq_jax.layers.projection import Projection
from vq_jax.layers.transformer_cache import Cache
from vq_jax.layers.transformer_config import TransformerConfig
from vq_jax.utils import replicas


class TransformerBlock(nn.Module):
  """Self-attention and an MLP, each with a residual connection.

  Attributes:
    config: sizes and variants.
    causal: whether a token attends only to itself and to earlier tokens.
    adaln: whether a condition shifts, scales and gates both layers by
      adaLN-zero (https://arxiv.org/abs/2212.09748), so that a block begins as
      the identity. The normalisation layers then have no parameters.
    grid: (h, w) of the tokens; needed with `mlp_kernel > 1`.

  Raises:
    ValueError: if `adaln` is combined with `norm='post'`, or `causal` with
      `mlp_kernel > 1`.
  """

  config: TransformerConfig
  causal: bool = False
  adaln: bool = False
  grid: tuple[int, int] | None = None

  def __post_init__(self):
    if self.adaln and self.config.norm != 'pre':
      raise ValueError("adaLN needs norm='pre'; got 'post'.")
    if self.causal and self.config.mlp_kernel > 1:
      raise ValueError(
        'a causal transformer needs mlp_kernel=1, because a larger kernel '
        f'reads later tokens; got {self.config.mlp_kernel}.'
      )
    super().__post_init__()

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    condition: jax.Array | None = None,
    angles: jax.Array | None = None,
    cache: KVCache | None = None,
    position: jax.Array | None = None,
    queries: int | None = None,
    train: bool = False,
  ) -> tuple[jax.Array, KVCache | None]:
    """Applies the block; see `TransformerStack.__call__` for its arguments.

    With `queries`, only that many first tokens are computed, which is enough
    for the last block of a model that reads no others; it needs `mlp_kernel=1`.

    Returns:
      the output [B, N, D] or [B, queries, D], and with a cache the key and the
      value of the token.
    """
    config = self.config
    if queries is not None and config.mlp_kernel > 1:
      raise ValueError(f'queries need mlp_kernel=1; got {config.mlp_kernel}.')
    drop = Dropout(config.dropout, deterministic=not train)
    of_attention: Sequence[jax.Array] = ()
    of_mlp: Sequence[jax.Array] = ()
    if self.adaln:
      assert condition is not None
      vectors = normalization.AdaLN(
        x.shape[-1], 6, name='adaln', **config.dtypes
      )(condition)
      of_attention, of_mlp = vectors[:3], vectors[3:]

    def attend(x):
      y, new_cache = self._attention()(
        x,
        angles=angles,
        cache=cache,
        position=position,
        queries=queries,
        train=train,
      )
      return drop(y), new_cache

    x, new_cache = self._residual('attention_norm', attend, x, of_attention)
    x, _ = self._residual(
      'mlp_norm', lambda x: (self._mlp(x, drop), None), x, of_mlp
    )
    return x, new_cache

  def _residual(self, name, layer, x, adaln):
    """Applies a layer that returns (output, cache), its norm and residual.

    `adaln` is empty, or shift, scale and gate.
    """
    config = self.config
    norm = normalization.make_norm(
      config.norm_type,
      config.epsilon,
      bias=config.bias,
      affine=not self.adaln,
      name=name,
      **config.dtypes,
    )
    if config.norm == 'post':
      y, cache = layer(x)
      return norm(x[:, : y.shape[1]] + y), cache
    if not adaln:
      y, cache = layer(norm(x))
      return x[:, : y.shape[1]] + y, cache
    shift, scale, gate = adaln
    y, cache = layer(normalization.modulate(norm(x), shift, scale))
    y = gate.astype(jnp.float32) * y
    return (x[:, : y.shape[1]] + y).astype(x.dtype), cache

  def _attention(self) -> attention.SelfAttention:
    config = self.config
    return attention.SelfAttention(
      config.heads,
      head_dim=config.head_dim,
      qkv_bias=config.bias if config.qkv_bias is None else config.qkv_bias,
      out_bias=config.bias,
      qk_norm=config.qk_norm,
      causal=self.causal,
      dropout=config.dropout,
      broadcast_dropout=config.broadcast_dropout,
      kernel_init=config.kernel_init,
      name='attention',
      **config.dtypes,
    )

  def _mlp(self, x: jax.Array, drop: Dropout) -> jax.Array:
    config = self.config
    hidden: nn.Module
    dense = functools.partial(
      Projection,
      use_bias=config.bias,
      kernel_init=config.kernel_init,
      **config.dtypes,
    )
    if config.mlp_kernel == 1:
      hidden = dense((config.mlp_width,), name='mlp_in')
    else:
      assert self.grid is not None
      hidden = convolution.GridConv(
        config.mlp_width,
        config.mlp_kernel,
        self.grid,
        kernel_init=config.kernel_init,
        name='mlp_in',
        **config.dtypes,
      )
    inputs = [hidden(x)]
    if config.activation == 'swiglu':
      inputs.append(dense((config.mlp_width,), name='mlp_gate')(x))
    # The backward pass computes the activation again, since to write and read
    # it takes longer, and the hidden layer too, unless dropout acts on it.
    activate = jax.checkpoint(
      activations.BY_NAME[config.activation], prevent_cse=False
    )
    drops_hidden = config.mlp_dropout == 'hidden'

    def project(block, y, *gate):
      del block  # the module, which `nn.remat` asks for
      y = math.prod(gate, start=activate(y))
      y = drop(y) if drops_hidden else y
      return dense(x.shape[-1:], name='mlp_out')(y)

    if drops_hidden:
      return project(self, *inputs)
    return drop(nn.remat(project, prevent_cse=False)(self, *inputs))


class TransformerStack(nn.Module):
  """Transformer blocks of one config, one after the other.

  Attributes:
    config: sizes and variants.
    causal: see `TransformerBlock`.
    adaln: see `TransformerBlock`.
    grid: see `TransformerBlock`.

  Example:
    >>> import jax
    >>> from vq_jax.layers import transformer
    >>> config = transformer.TransformerConfig(
    ...   layers=2, width=8, heads=2, mlp_width=16
    ... )
    >>> stack = transformer.TransformerStack(config)
    >>> x = jax.numpy.ones((1, 5, 8))
    >>> y, _ = stack.apply(stack.init(jax.random.key(0), x), x)
    >>> y.shape
    (1, 5, 8)
  """

  config: TransformerConfig
  causal: bool = False
  adaln: bool = False
  grid: tuple[int, int] | None = None

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    condition: jax.Array | None = None,
    angles: jax.Array | None = None,
    cache: Cache | None = None,
    position: jax.Array | None = None,
    train: bool = False,
  ) -> tuple[jax.Array, Cache | None]:
    """Applies the stack to a sequence, or with a cache to one token of it.

    Args:
      x: [B, N, D]; with a cache [B, 1, D].
      condition: [B, C]; needed with `adaln`.
      angles: float32 [N, head_dim / 2]; see `positions.rotate`.
      cache: keys and values of the tokens before `position`; see
        `transformer_cache.make_cache`.
      position: int32 [], the position of the token in the cached sequence.
      train: whether dropout is active; it uses the stream 'dropout'.

    Returns:
      the output, of the shape of `x`, and with a cache the updated cache.
    """
    config = self.config
    x = Dropout(config.input_dropout, deterministic=not train)(x)

    def body(block, x, cache):
      return block(
        replicas.split_batch(x),
        condition=condition,
        angles=angles,
        cache=cache,
        position=position,
        train=train,
      )

    make_block = functools.partial(
      TransformerBlock, config, self.causal, self.adaln, self.grid
    )

    if config.remat:
      policy = config.remat_policy
      body = nn.remat(body, prevent_cse=not config.scan, policy=policy)
    if config.scan:
      x, new = self._scan(body)(make_block(name='blocks'), x, cache)
    else:
      assert not isinstance(cache, KVCache)
      new = []
      for i in range(config.layers):
        own = None if cache is None else cache[i]
        x, own = body(make_block(name=f'block_{i}'), x, own)
        new.append(own)
    if cache is None:
      return x, None
    assert position is not None
    return x, transformer_cache.write(cache, new, position, after=x)

  def _scan(self, body: Callable) -> Callable:
    """Returns the function that applies all blocks, one after the other."""
    body = nn.scan(
      body,
      variable_axes={'params': 0},
      split_rngs={'params': True, 'dropout': True},
      length=self.config.layers,
    )
    if self.is_initializing():
      return body
    cast = functools.partial(
      stacked_parameters.cast_kernels, dtype=self.config.dtype
    )
    return nn.map_variables(body, 'params', cast)
