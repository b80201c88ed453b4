"""The towers of ViT-VQGAN (Yu et al. 2022, section 3.1).

The paper's text leaves open what stands inside a block; the fields name what
its open re-implementation, thuanz123/enhancing-transformers, does otherwise
than a plain Vision Transformer.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import initializers
from vq_jax.layers import patches
from vq_jax.layers import positions
from vq_jax.layers import transformer
from vq_jax.utils import fields

_ACTIVATIONS = {'gelu': transformer.gelu, 'tanh': nn.tanh}


def _transform(tower: nn.Module, x: jax.Array) -> jax.Array:
  """Adds positions to [B, h, w, D] and applies blocks, norm and head."""
  types = {'dtype': tower.dtype, 'param_dtype': tower.param_dtype}
  b, h, w, _ = x.shape
  where = positions.sincos_2d((h, w), tower.width).reshape(1, h, w, -1)
  x = (x + where.astype(x.dtype)).reshape(b, h * w, -1)
  block = transformer.TransformerBlock(
    heads=tower.heads,
    head_dim=tower.head_dim,
    qkv_bias=tower.qkv_bias,
    mlp_width=tower.mlp_width,
    activation=_ACTIVATIONS[tower.activation],
    epsilon=tower.epsilon,
    kernel_init=tower.kernel_init,
    parent=None,
    **types,
  )
  x, _ = transformer.TransformerStack(
    block, tower.layers, tower.scan, tower.remat, name='transformer'
  )(x)
  x = nn.LayerNorm(epsilon=tower.epsilon, name='norm_out', **types)(x)
  if tower.head_width is not None:
    x = nn.tanh(nn.Dense(tower.head_width, name='head', **types)(x))
  return x.reshape(b, h, w, -1)


class ViTEncoder(checked.CheckedModule):
  """Patches, fixed positions of any grid, a pre-norm transformer.

  Attributes:
    patch: side of a patch, the stride.
    overlap: a patch reaches over so many strides along a side, to the middle of
      its neighbours with 2. With 1, the paper's, patches have edges, and it
      takes the attention long to learn to hide them.
    width: of the tokens, a multiple of 4.
    layers: transformer blocks.
    heads: attention heads.
    head_dim: width of a head; `width / heads` by default.
    mlp_width: width of the blocks' MLP.
    activation: of the blocks' MLP; 'tanh' in the re-implementation.
    qkv_bias: whether the projections of the attention have biases; not in the
      re-implementation.
    head_width: width of a last layer with tanh. The autoencoder's layer to the
      codes follows: together they are the paper's two-layer head. None leaves
      it out, as the re-implementation does.
    epsilon: of the norms.
    kernel_init: initializer of the blocks' kernels; the paper names none.
    scan: see `TransformerStack`.
    remat: see `TransformerStack`.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  patch: fields.PositiveInt = 8
  overlap: fields.PositiveInt = 1
  width: fields.PositiveInt = 512
  layers: fields.NonNegativeInt = 8
  heads: fields.PositiveInt = 8
  head_dim: fields.PositiveInt | None = None
  mlp_width: fields.PositiveInt = 2048
  activation: Literal['gelu', 'tanh'] = 'gelu'
  qkv_bias: bool = True
  head_width: fields.PositiveInt | None = 2048
  epsilon: fields.PositiveFloat = 1e-6
  kernel_init: nn.initializers.Initializer = initializers.bert
  scan: bool = True
  remat: bool = False
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.patch

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps float [B, H, W, C] to [B, H / patch, W / patch, D'].

    D' is `head_width`, or `width` without a head.
    """
    embed = patches.PatchConv(
      self.width,
      self.overlap * self.patch,
      self.patch,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
      name='embedding',
    )
    return _transform(self, embed(image))


class ViTDecoder(checked.CheckedModule):
  """The mirror of `ViTEncoder`, with positions of its own.

  Attributes:
    out_channels: channels of the image.
    patch: side of a patch, the stride.
    overlap: as in the encoder; where patches overlap, they add up.
    width: as in the encoder, as all that follows; sizes may differ from its.
    layers: transformer blocks.
    heads: attention heads.
    head_dim: width of a head; `width / heads` by default.
    mlp_width: width of the blocks' MLP.
    activation: of the blocks' MLP.
    qkv_bias: whether the projections of the attention have biases.
    head_width: width of a layer with tanh before the one that paints patches:
      together they are the paper's two-layer head. None leaves it out.
    epsilon: of the norms.
    kernel_init: initializer of the blocks' kernels; the paper names none.
    scan: see `TransformerStack`.
    remat: see `TransformerStack`.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  out_channels: fields.PositiveInt = 3
  patch: fields.PositiveInt = 8
  overlap: fields.PositiveInt = 1
  width: fields.PositiveInt = 512
  layers: fields.NonNegativeInt = 8
  heads: fields.PositiveInt = 8
  head_dim: fields.PositiveInt | None = None
  mlp_width: fields.PositiveInt = 2048
  activation: Literal['gelu', 'tanh'] = 'gelu'
  qkv_bias: bool = True
  head_width: fields.PositiveInt | None = 2048
  epsilon: fields.PositiveFloat = 1e-6
  kernel_init: nn.initializers.Initializer = initializers.bert
  scan: bool = True
  remat: bool = False
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.patch

  @property
  def last_layer(self) -> str:
    """Name of the layer that gives the pixels."""
    return 'pixels'

  @nn.compact
  def __call__(self, codes: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] to [B, h * patch, w * patch, out_channels]."""
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = nn.Dense(self.width, name='from_code', **types)(codes)
    side = self.overlap * self.patch
    return patches.OverlapAdd(
      self.out_channels, side, self.patch, name='pixels', **types
    )(_transform(self, x))
