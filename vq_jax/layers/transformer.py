"""Transformer blocks, and a stack of them that compiles as one."""

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import attention as attention_lib
from vq_jax.layers import convolution
from vq_jax.layers import initializers
from vq_jax.layers import normalization


def gelu(x: jax.Array) -> jax.Array:
  """The tanh approximation of gelu."""
  return nn.gelu(x, approximate=True)


class TransformerBlock(nn.Module):
  """Self-attention and an MLP, each with a residual around it.

  Attributes:
    heads: attention heads.
    mlp_width: width of the MLP.
    head_dim: width of a head; the input's width over the heads by default.
    qkv_bias: whether the projections of the attention have biases; None for
      what `bias` says.
    bias: whether the dense layers and LayerNorm have biases.
    norm: 'post' normalises after the residual (BERT), 'pre' before the layer.
    norm_type: 'layer' for LayerNorm, 'rms' for RMSNorm.
    qk_norm: see `SelfAttention`.
    causal: see `SelfAttention`.
    modulated: whether a condition scales and shifts what is normalised and
      gates what is added (adaLN-zero, Peebles and Xie 2022, 3.2): each block
      begins as the identity. It takes the place of the norms' own scales, and
      needs norm 'pre'.
    grid: (h, w) of the tokens; only needed with mlp_kernel > 1.
    mlp_kernel: 1 for the published MLP; 3 lets its first layer see a token's
      eight neighbours, which learns locality much sooner.
    activation: of the MLP.
    gated: whether a second projection multiplies the activation: with
      `nn.silu` that is SwiGLU (Shazeer 2020).
    dropout: rate after attention and MLP, and on the attention weights.
    broadcast_dropout: see `SelfAttention`.
    mlp_dropout: whether the MLP drops its 'output' or, before its last layer,
      what is 'hidden' (Halton-MaskGIT).
    kernel_init: initializer of all kernels but those of a modulation.
    epsilon: of the norms.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  heads: int
  mlp_width: int
  head_dim: int | None = None
  qkv_bias: bool | None = None
  bias: bool = True
  norm: Literal['post', 'pre'] = 'pre'
  norm_type: Literal['layer', 'rms'] = 'layer'
  qk_norm: Literal['head', 'width'] | None = None
  causal: bool = False
  modulated: bool = False
  grid: tuple[int, int] | None = None
  mlp_kernel: int = 1
  activation: Callable[[jax.Array], jax.Array] = gelu
  gated: bool = False
  dropout: float = 0.0
  broadcast_dropout: bool = True
  mlp_dropout: Literal['output', 'hidden'] = 'output'
  kernel_init: nn.initializers.Initializer = initializers.bert
  epsilon: float = 1e-6
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    condition: jax.Array | None = None,
    angles: jax.Array | None = None,
    cache: attention_lib.KVCache | None = None,
    position: jax.Array | None = None,
    train: bool = False,
  ) -> tuple[jax.Array, attention_lib.KVCache | None]:
    """Maps [B, N, D] to [B, N, D]; see `SelfAttention` for the rest.

    Args:
      x: [B, N, D].
      condition: [B, C], if the block is modulated.
      angles: see `SelfAttention`.
      cache: see `SelfAttention`.
      position: see `SelfAttention`.
      train: whether dropout acts, drawing from the stream 'dropout'.
    """
    self._check()
    attention = self._attention()
    drop = nn.Dropout(self.dropout, deterministic=not train)
    # Of attention and of MLP: how its input moves, how its output is weighed.
    moves, gates = [(0.0, 0.0)] * 2, [1.0] * 2
    if self.modulated:
      modulation = normalization.Modulation(
        x.shape[-1], 6, name='modulation', **self._types()
      )
      shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation(condition)
      moves, gates = [(shift_a, scale_a), (shift_m, scale_m)], [gate_a, gate_m]

    def residual(i, layer, x, name):
      normalise = self._norm(name)
      if self.norm == 'post':
        y, rows = layer(x)
        return normalise(x + y), rows
      shift, scale = moves[i]
      y, rows = layer(normalise(x) * (1 + scale) + shift)
      return x + gates[i] * y, rows

    def attend(x):
      y, rows = attention(
        x, angles=angles, cache=cache, position=position, train=train
      )
      return drop(y), rows

    x, rows = residual(0, attend, x, 'attention_norm')
    x, _ = residual(1, lambda x: (self._mlp(x, drop), None), x, 'mlp_norm')
    return x, rows

  def _attention(self) -> attention_lib.SelfAttention:
    return attention_lib.SelfAttention(
      self.heads,
      head_dim=self.head_dim,
      qkv_bias=self.bias if self.qkv_bias is None else self.qkv_bias,
      out_bias=self.bias,
      qk_norm=self.qk_norm,
      causal=self.causal,
      dropout=self.dropout,
      broadcast_dropout=self.broadcast_dropout,
      kernel_init=self.kernel_init,
      name='attention',
      **self._types(),
    )

  def _mlp(self, x: jax.Array, drop: nn.Module) -> jax.Array:
    dense = {'kernel_init': self.kernel_init, **self._types()}
    if self.mlp_kernel == 1:
      hidden = nn.Dense(
        self.mlp_width, use_bias=self.bias, name='mlp_in', **dense
      )
    else:
      hidden = convolution.GridConv(
        self.mlp_width, self.mlp_kernel, self.grid, name='mlp_in', **dense
      )
    y = self.activation(hidden(x))
    if self.gated:
      y *= nn.Dense(
        self.mlp_width, use_bias=self.bias, name='mlp_gate', **dense
      )(x)
    out = nn.Dense(x.shape[-1], use_bias=self.bias, name='mlp_out', **dense)
    return out(drop(y)) if self.mlp_dropout == 'hidden' else drop(out(y))

  def _norm(self, name):
    return normalization.norm(
      self.norm_type,
      self.epsilon,
      bias=self.bias,
      affine=not self.modulated,
      name=name,
      **self._types(),
    )

  def _types(self):
    return {'dtype': self.dtype, 'param_dtype': self.param_dtype}

  def _check(self):
    if self.mlp_dropout not in ('output', 'hidden'):
      raise ValueError(
        f"mlp_dropout must be 'output' or 'hidden'; got {self.mlp_dropout!r}."
      )
    if self.modulated and self.norm != 'pre':
      raise ValueError("a modulated block needs norm='pre'; got 'post'.")
    if self.causal and self.mlp_kernel > 1:
      raise ValueError(
        'a causal block cannot look at the neighbours of a token, some of '
        'which come later; set mlp_kernel=1.'
      )


class TransformerStack(nn.Module):
  """`layers` blocks of one shape, one after the other.

  Attributes:
    block: the block, as a template.
    layers: how many.
    scan: one compiled block runs `layers` times, its parameters stacked on a
      leading axis, so that depth costs no compile time; else unrolled.
    remat: recompute activations in the backward pass, to save memory.
  """

  block: TransformerBlock
  layers: int
  scan: bool = True
  remat: bool = False

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    condition: jax.Array | None = None,
    angles: jax.Array | None = None,
    cache: attention_lib.KVCache | None = None,
    position: jax.Array | None = None,
    train: bool = False,
  ) -> tuple[jax.Array, attention_lib.KVCache | None]:
    """Maps [B, N, D] to [B, N, D], or one token of a cached sequence.

    Args:
      x: [B, N, D]; with a cache [B, 1, D].
      condition: [B, C], if the blocks are modulated.
      angles: see `SelfAttention`.
      cache: [layers, B, heads, N, head_dim]; see `SelfAttention`.
      position: see `SelfAttention`.
      train: whether dropout acts, drawing from the stream 'dropout'.

    Returns:
      What x becomes, and the cache with this token in it.
    """

    def body(block, x, cache):
      return block(
        x,
        condition=condition,
        angles=angles,
        cache=cache,
        position=position,
        train=train,
      )

    if self.remat:
      body = nn.remat(body, prevent_cse=not self.scan)
    if self.scan:
      body = nn.scan(
        body,
        variable_axes={'params': 0},
        split_rngs={'params': True, 'dropout': True},
        length=self.layers,
      )
      x, rows = body(self.block.clone(parent=self, name='blocks'), x, cache)
    else:
      each = []
      for i in range(self.layers):
        of_layer = jax.tree.map(lambda c, i=i: c[i], cache)
        block = self.block.clone(parent=self, name=f'block_{i}')
        x, rows = body(block, x, of_layer)
        each.append(rows)
      rows = jax.tree.map(lambda *r: jnp.stack(r), *each) if each else None
    return x, None if cache is None else cache.write(rows, position)
