"""Self-attention, with what transformers and convolutional towers differ in."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class SelfAttention(nn.Module):
  """Multi-head attention of a sequence to itself.

  The same variables and numbers as `nn.MultiHeadDotProductAttention`, which
  cannot leave out the biases of the projections alone, as ViT-VQGAN does.

  Attributes:
    heads: attention heads.
    head_dim: width of a head; the input's width over the heads by default.
    qkv_bias: whether the three projections have biases; the last layer has.
    dropout: rate on the attention weights.
    kernel_init: initializer of the four kernels.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  heads: int
  head_dim: int | None = None
  qkv_bias: bool = True
  dropout: float = 0.0
  kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
    """Maps [B, N, D] to [B, N, D]; dropout draws from the stream 'dropout'.

    Raises:
      ValueError: if D does not divide into the heads.
    """
    width = x.shape[-1]
    if self.head_dim is None and width % self.heads:
      raise ValueError(
        f'the width must be a multiple of the heads; got {width} and '
        f'{self.heads} heads. Change one, or set head_dim.'
      )
    types = {
      'kernel_init': self.kernel_init,
      'dtype': self.dtype,
      'param_dtype': self.param_dtype,
    }
    features = (self.heads, self.head_dim or width // self.heads)
    query, key, value = (
      nn.DenseGeneral(features, use_bias=self.qkv_bias, name=name, **types)(x)
      for name in ('query', 'key', 'value')
    )
    drops = train and self.dropout > 0
    y = nn.dot_product_attention(
      query,
      key,
      value,
      dropout_rng=self.make_rng('dropout') if drops else None,
      dropout_rate=self.dropout,
      deterministic=not drops,
      dtype=self.dtype,
    )
    return nn.DenseGeneral(width, axis=(-2, -1), name='out', **types)(y)
