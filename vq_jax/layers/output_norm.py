"""The normalisation after a stack of transformer blocks."""

import flax.linen as nn
import jax

from vq_jax.layers import initializers
from vq_jax.layers import normalization
from vq_jax.layers.transformer_config import TransformerConfig


class OutputNorm(nn.Module):
  """The normalisation after the last block.

  Attributes:
    config: the config of the stack.
    adaln: whether the normalised input is scaled and shifted by a condition.
    adaln_init: initializer of the kernel of that `AdaLN`.
  """

  config: TransformerConfig
  adaln: bool = False
  adaln_init: nn.initializers.Initializer = initializers.zeros

  @nn.compact
  def __call__(
    self, x: jax.Array, condition: jax.Array | None = None
  ) -> jax.Array:
    """Normalises [B, N, D]; `condition` [B, C] is needed with `adaln`."""
    config = self.config
    x = normalization.make_norm(
      config.norm_type,
      config.epsilon,
      bias=config.bias,
      affine=not self.adaln,
      name='norm',
      **config.dtypes,
    )(x)
    if not self.adaln:
      return x
    assert condition is not None
    shift, scale = normalization.AdaLN(
      config.width, 2, self.adaln_init, name='adaln', **config.dtypes
    )(condition)
    return normalization.modulate(x, shift, scale)
