"""The config of a stack of transformer blocks."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import initializers
from vq_jax.layers import products
from vq_jax.utils import fields
from vq_jax.utils.dtypes import Dtypes


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig:
  """The shape and the variants of a stack of transformer blocks.

  Attributes:
    layers: number of blocks.
    width: D, the width of the residual stream.
    heads: attention heads.
    head_dim: width of a head; `width / heads` by default.
    mlp_width: width of the hidden layer of the MLP.
    norm: 'pre' normalises the input of attention and MLP (GPT-2), 'post'
      normalises after the residual connection (BERT).
    norm_type: 'layer' for LayerNorm, 'rms' for RMSNorm.
    bias: whether dense layers and LayerNorm have biases.
    qkv_bias: whether the projections to queries, keys and values have biases;
      `bias` by default.
    qk_norm: normalisation of queries and keys; see `SelfAttention`.
    activation: activation of the MLP: 'gelu' by its tanh approximation,
      'gelu_exact', 'quick_gelu', which is x * sigmoid(1.702 x) (CLIP), 'tanh',
      or 'swiglu', which is silu multiplied by a second projection
      (https://arxiv.org/abs/2002.05202).
    mlp_kernel: 1 for the published MLP. With an odd number above 1 the first
      layer of the MLP is a convolution with such a kernel over the grid of
      tokens.
    dropout: rate on the attention weights, and after attention and MLP.
    embedding_dropout: rate on the input of the stack; `dropout` by default.
    broadcast_dropout: whether all examples and heads of a batch share the mask
      of the attention dropout; see `SelfAttention`.
    mlp_dropout: whether dropout acts on the 'output' of the MLP or on its
      'hidden' layer (Halton-MaskGIT).
    kernel_init: initializer of the kernels, except those of `AdaLN`.
    embedding_init: initializer of the tables of tokens and positions, in
      models that have such tables.
    epsilon: epsilon of the normalisation layers.
    scan: whether one compiled block is scanned over parameters with a leading
      axis `layers`, so that compile time does not grow with depth. Otherwise
      each block has parameters of its own, and a training step takes less time:
      a loop copies what the backward pass needs of a block into one array.
    remat: whether activations are recomputed in the backward pass, which
      saves memory. A name of `jax.checkpoint_policies` keeps some of them:
      'dots_saveable' the results of all matrix products,
      'dots_with_no_batch_dims_saveable' those with parameters alone, so that
      attention is recomputed and little else.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.

  Raises:
    ValueError: if a value is out of range.

  Example:
    >>> from vq_jax.layers import transformer
    >>> config = transformer.TransformerConfig(
    ...   layers=2, width=8, heads=2, mlp_width=16
    ... )
    >>> config.head_width
    4
  """

  layers: fields.NonNegativeInt
  width: fields.PositiveInt
  heads: fields.PositiveInt
  mlp_width: fields.PositiveInt
  head_dim: fields.PositiveInt | None = None
  norm: Literal['post', 'pre'] = 'pre'
  norm_type: Literal['layer', 'rms'] = 'layer'
  bias: bool = True
  qkv_bias: bool | None = None
  qk_norm: Literal['head', 'width'] | None = None
  activation: Literal['gelu', 'gelu_exact', 'quick_gelu', 'swiglu', 'tanh'] = (
    'gelu'
  )
  mlp_kernel: fields.PositiveInt = 1
  dropout: fields.Fraction = 0.0
  embedding_dropout: fields.Fraction | None = None
  broadcast_dropout: bool = True
  mlp_dropout: Literal['output', 'hidden'] = 'output'
  kernel_init: nn.initializers.Initializer = initializers.bert
  embedding_init: nn.initializers.Initializer = initializers.bert
  epsilon: fields.PositiveFloat = 1e-6
  scan: bool = True
  remat: bool | Literal['dots_saveable', 'dots_with_no_batch_dims_saveable'] = (
    False
  )
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  def __post_init__(self):
    fields.check(self)

  @property
  def head_width(self) -> int:
    """The width of a head."""
    return self.head_dim or self.width // self.heads

  @property
  def remat_policy(self) -> Callable[..., bool]:
    """What `remat` keeps; see `jax.checkpoint_policies`."""
    policies = jax.checkpoint_policies
    if not isinstance(self.remat, str):
      return policies.nothing_saveable
    names = [products.PRODUCT]
    if self.remat == 'dots_saveable':
      names.append(products.BATCHED_PRODUCT)
    return policies.save_from_both_policies(
      getattr(policies, self.remat), policies.save_only_these_names(*names)
    )

  @property
  def input_dropout(self) -> float:
    """The rate on the input of the stack."""
    if self.embedding_dropout is None:
      return self.dropout
    return self.embedding_dropout

  @property
  def dtypes(self) -> Dtypes:
    """`dtype` and `param_dtype`, as keyword arguments of a module."""
    return {'dtype': self.dtype, 'param_dtype': self.param_dtype}
