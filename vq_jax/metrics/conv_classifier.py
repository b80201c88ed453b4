"""A small convolutional classifier that is fast on a CPU."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers.dropout import Dropout


class ConvClassifier(nn.Module):
  """A strided convolution, max pooling, two convolutions, two dense layers.

  Max pooling reduces the grid to at most 8 x 8, so that the network is fast on
  a CPU.

  Attributes:
    num_classes: number of logits.
    channels: width of the convolutions on the grid.
    features: width of the layer before the logits.
    dropout: rate on the grid.
  """

  num_classes: int
  channels: int = 64
  features: int = 64
  dropout: float = 0.5

  @nn.compact
  def __call__(
    self, image: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, jax.Array]:
    """Returns logits [B, num_classes] and features [B, features].

    Args:
      image: float [B, H, W, C] in [0, 1].
      train: whether dropout is active; it uses the stream 'dropout'.
    """
    x = nn.relu(nn.Conv(self.channels // 2, (5, 5), strides=2)(2 * image - 1))
    while max(x.shape[1:3]) > 8:
      x = _max_pool(x)
    for _ in range(2):
      x = nn.relu(nn.Conv(self.channels, (3, 3))(x))
    x = x.reshape(len(x), -1)
    x = Dropout(self.dropout, deterministic=not train)(x)
    x = nn.relu(nn.Dense(self.features)(x))
    return nn.Dense(self.num_classes)(x), x


def _max_pool(x: jax.Array) -> jax.Array:
  """Takes the maximum over 2 x 2 of x >= 0, [B, H, W, C], padded to even sides.

  It uses reshape because the gradient of `nn.max_pool` is slow on a CPU.
  """
  x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
  b, h, w, c = x.shape
  return x.reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
