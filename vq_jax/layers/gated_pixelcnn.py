"""The layer of Gated PixelCNN."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import causal_convolution as causal
from vq_jax.layers.dropout import Dropout
from vq_jax.utils.dtypes import Dtypes


class TwoStackLayer(nn.Module):
  """A layer of Gated PixelCNN, with a vertical and a horizontal stack.

  Van den Oord et al. 2016, figure 2 (https://arxiv.org/abs/1606.05328). The
  vertical stack reads the rows above a pixel; the horizontal stack reads the
  pixels to its left and the output of the vertical stack.

  Attributes:
    channels: C, width of both stacks.
    kernel: kernel size, odd.
    first: whether this is the first layer: the windows exclude the pixel itself
      and there is no residual connection. Its kernel size is at least 3.
    dropout: rate on the outputs of the gates.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  channels: int
  kernel: int
  first: bool
  dropout: float = 0.0
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  def setup(self):
    """Declares the layers."""
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    r = causal.window_radius(self.kernel, least=3 if self.first else 1)
    last, wide = -1 if self.first else 0, 2 * self.channels
    self.vertical = causal.WindowConv(wide, (-r, last), (-r, r), **types)
    self.horizontal = causal.WindowConv(wide, (0, 0), (-r, last), **types)
    self.link = nn.Dense(wide, use_bias=False, **types)
    self.out = nn.Dense(self.channels, **types)
    self.vertical_label = nn.Dense(wide, use_bias=False, **types)
    self.horizontal_label = nn.Dense(wide, use_bias=False, **types)
    self.drop = Dropout(self.dropout)

  def __call__(
    self,
    vertical: jax.Array,
    horizontal: jax.Array,
    biases: tuple[jax.Array, jax.Array],
    *,
    train: bool = False,
  ) -> tuple[jax.Array, jax.Array]:
    """Applies the layer to whole feature maps.

    Args:
      vertical: [B, h, w, C].
      horizontal: [B, h, w, C].
      biases: the result of the method `biases`.
      train: whether dropout is active; it uses the stream 'dropout'.

    Returns:
      the new vertical and horizontal features.
    """
    vertical_bias, horizontal_bias = (
      jnp.expand_dims(bias, (1, 2)) for bias in biases
    )
    y = self.vertical(vertical)
    vertical = self._gate(y + vertical_bias, train)
    y = self.horizontal(horizontal) + self.link(y) + horizontal_bias
    return vertical, self._add(horizontal, y, train)

  def row(
    self, rows: jax.Array, biases: tuple[jax.Array, jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    """Computes one row of the vertical stack.

    Args:
      rows: [B, n, w, C], the rows inside the windows.
      biases: the result of the method `biases`.

    Returns:
      [B, w, C], and the input of the horizontal stack, [B, w, 2 C].
    """
    vertical_bias, horizontal_bias = (bias[:, None] for bias in biases)
    y = self.vertical.row(rows)
    return self._gate(y + vertical_bias), self.link(y) + horizontal_bias

  def pixel(self, window: jax.Array, link: jax.Array) -> jax.Array:
    """Computes one pixel of the horizontal stack.

    Args:
      window: [B, m, C], the pixel and the pixels to its left.
      link: [B, 2 C], the input from the vertical stack; see `row`.

    Returns:
      [B, C].
    """
    y = self.horizontal.pixel(window[:, None]) + link
    return self._add(window[:, -1], y)

  def biases(
    self, batch_size: int, label: jax.Array | None
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the biases of both gates for a label [B, D]: [B, 2 C] each."""
    if label is None:
      shape = (batch_size, 2 * self.channels)
      return jnp.zeros(shape, self.dtype), jnp.zeros(shape, self.dtype)
    return self.vertical_label(label), self.horizontal_label(label)

  def _gate(self, y, train=False):
    signal, gate = jnp.split(y, 2, axis=-1)
    y = nn.tanh(signal) * nn.sigmoid(gate)
    return self.drop(y, deterministic=not train)

  def _add(self, x, y, train=False):
    y = self.out(self._gate(y, train))
    return y if self.first else x + y
