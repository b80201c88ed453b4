"""Transformer blocks, and a stack of them that compiles as one."""

import functools
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import attention as attention_lib

# BERT's: x ~ N(0, 0.02^2), cut at two standard deviations.
bert_init = nn.initializers.truncated_normal(0.02)


def gelu(x: jax.Array) -> jax.Array:
  """The tanh approximation of gelu."""
  return nn.gelu(x, approximate=True)


class GridConv(nn.Module):
  """A convolution over the tokens that form a grid.

  Tokens before the grid (the class token) see only the centre of the kernel:
  for them it is a dense layer with the same weights.

  Attributes:
    features: output width.
    kernel: side of the kernel, odd.
    grid: (h, w); the last h * w tokens are the grid, row by row.
    kernel_init: initializer of the kernel.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  features: int
  kernel: int
  grid: tuple[int, int]
  kernel_init: nn.initializers.Initializer = bert_init
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, P + h * w, D] to [B, P + h * w, features]."""
    h, w = self.grid
    b, n, d = x.shape
    prefix = n - h * w
    kernel = self.param(
      'kernel',
      self.kernel_init,
      (self.kernel, self.kernel, d, self.features),
      self.param_dtype,
    )
    bias = self.param(
      'bias', nn.initializers.zeros_init(), (self.features,), self.param_dtype
    )
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    # One product over the gathered neighbours: the gradient of a convolution
    # over so small a grid takes a CPU nearly twice as long.
    k, middle = self.kernel, self.kernel // 2
    around = ((0, 0), (middle, middle), (middle, middle), (0, 0))
    padded = jnp.pad(x[:, prefix:].reshape(b, h, w, d), around)
    neighbours = jnp.concatenate(
      [padded[:, i : i + h, j : j + w] for i in range(k) for j in range(k)],
      axis=-1,
    ).reshape(b, h * w, k * k * d)
    grid = neighbours @ kernel.reshape(k * k * d, self.features)
    centre = kernel[middle, middle]
    y = jnp.concatenate([x[:, :prefix] @ centre, grid], axis=1)
    return y + jnp.expand_dims(bias, (0, 1))


class TransformerBlock(nn.Module):
  """Self-attention and an MLP, each with a residual around it.

  Attributes:
    heads: attention heads.
    mlp_width: width of the MLP.
    head_dim: width of a head; the input's width over the heads by default.
    qkv_bias: whether the projections of the attention have biases.
    norm: 'post' normalises after the residual (BERT), 'pre' before the layer.
    grid: (h, w) of the tokens; only needed with mlp_kernel > 1.
    mlp_kernel: 1 for the published MLP; 3 lets its first layer see a token's
      eight neighbours, which learns locality much sooner.
    dropout: rate after attention and MLP, and on the attention weights.
    epsilon: of LayerNorm.
    activation: of the MLP.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  heads: int
  mlp_width: int
  head_dim: int | None = None
  qkv_bias: bool = True
  norm: Literal['post', 'pre'] = 'pre'
  grid: tuple[int, int] | None = None
  mlp_kernel: int = 1
  dropout: float = 0.0
  epsilon: float = 1e-6
  activation: Callable[[jax.Array], jax.Array] = gelu
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
    """Maps [B, N, D] to [B, N, D]; dropout draws from the stream 'dropout'."""
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    norm = functools.partial(nn.LayerNorm, epsilon=self.epsilon, **types)
    drop = nn.Dropout(self.dropout, deterministic=not train)

    def residual(layer, x, name):
      if self.norm == 'pre':
        return x + drop(layer(norm(name=name)(x)))
      return norm(name=name)(x + drop(layer(x)))

    attention = attention_lib.SelfAttention(
      self.heads,
      head_dim=self.head_dim,
      qkv_bias=self.qkv_bias,
      dropout=self.dropout,
      kernel_init=bert_init,
      name='attention',
      **types,
    )
    attend = functools.partial(attention, train=train)
    x = residual(attend, x, 'attention_norm')
    return residual(self._mlp, x, 'mlp_norm')

  def _mlp(self, x: jax.Array) -> jax.Array:
    types = {
      'kernel_init': bert_init,
      'dtype': self.dtype,
      'param_dtype': self.param_dtype,
    }
    if self.mlp_kernel == 1:
      hidden = nn.Dense(self.mlp_width, name='mlp_in', **types)
    else:
      hidden = GridConv(
        self.mlp_width, self.mlp_kernel, self.grid, name='mlp_in', **types
      )
    y = self.activation(hidden(x))
    return nn.Dense(x.shape[-1], name='mlp_out', **types)(y)


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
  def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
    """Maps [B, N, D] to [B, N, D]."""

    def body(block, x):
      return block(x, train=train), None

    if self.remat:
      body = nn.remat(body, prevent_cse=not self.scan)
    if self.scan:
      body = nn.scan(
        body,
        variable_axes={'params': 0},
        split_rngs={'params': True, 'dropout': True},
        length=self.layers,
      )
      return body(self.block.clone(parent=self, name='blocks'), x)[0]
    for i in range(self.layers):
      x, _ = body(self.block.clone(parent=self, name=f'block_{i}'), x)
    return x
