"""Causal convolutions over a grid in raster order.

The same weights are applied to a whole feature map in training, and to a single
row or pixel in sampling. In sampling the windows of pixels are read from a
cached feature map, which has a margin of zeros above, left and right that is as
wide as the radius of the windows.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class WindowConv(nn.Module):
  """A convolution with any window relative to the pixel.

  Attributes:
    features: output channels.
    rows: first and last row of the window relative to the pixel: (-2, -1) are
      the two rows above it.
    columns: first and last column of the window relative to the pixel.
    taps: number of positions of the window that have weights, in raster order;
      all by default.
    kernel_init: initializer of the kernel [taps, D, features].
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  features: int
  rows: tuple[int, int]
  columns: tuple[int, int]
  taps: int | None = None
  kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] to [B, h, w, features], with zero padding."""
    return self._convolve(x, (-self.rows[0], self.rows[1]))

  def row(self, x: jax.Array) -> jax.Array:
    """Maps the rows [B, n, w, D] inside the windows to [B, w, features]."""
    return self._convolve(x, (0, 0))[:, 0]

  def pixel(self, window: jax.Array) -> jax.Array:
    """Maps the window [B, n, m, D] of a pixel to [B, features]."""
    b, d = window.shape[0], window.shape[-1]
    x, kernel, bias = self._weights(window)
    x = x.reshape(b, -1, d)[:, : kernel.shape[0]].reshape(b, -1)
    return x @ kernel.reshape(-1, self.features) + jnp.expand_dims(bias, 0)

  def _size(self):
    """Returns the numbers of rows and columns of the window."""
    return [last - first + 1 for first, last in (self.rows, self.columns)]

  @nn.compact
  def _weights(self, x):
    """Returns x, kernel [taps, D, features] and bias in one dtype."""
    n, m = self._size()
    taps = n * m if self.taps is None else self.taps
    kernel = self.param(
      'kernel',
      self.kernel_init,
      (taps, x.shape[-1], self.features),
      self.param_dtype,
    )
    bias = self.param(
      'bias', nn.initializers.zeros_init(), (self.features,), self.param_dtype
    )
    return nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)

  def _convolve(self, x, row_padding):
    x, kernel, bias = self._weights(x)
    n, m = self._size()
    kernel = jnp.pad(kernel, ((0, n * m - kernel.shape[0]), (0, 0), (0, 0)))
    # If the window ends before the row or column of the pixel, the padding is
    # negative, which crops. It is not an argument of the convolution because
    # XLA on CPU reads out of bounds in 1 x 1 convolutions with negative
    # padding, also in their gradients.
    none, rows = (0, 0, 0), (*row_padding, 0)
    columns = (-self.columns[0], self.columns[1], 0)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), (none, rows, columns, none))
    y = jax.lax.conv_general_dilated(
      x,
      kernel.reshape(n, m, *kernel.shape[1:]),
      window_strides=(1, 1),
      padding='VALID',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    return y + jnp.expand_dims(bias, (0, 1, 2))


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
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    r = window_radius(self.kernel, least=3 if self.first else 1)
    last, wide = -1 if self.first else 0, 2 * self.channels
    self.vertical = WindowConv(wide, (-r, last), (-r, r), **types)
    self.horizontal = WindowConv(wide, (0, 0), (-r, last), **types)
    self.link = nn.Dense(wide, use_bias=False, **types)
    self.out = nn.Dense(self.channels, **types)
    self.vertical_label = nn.Dense(wide, use_bias=False, **types)
    self.horizontal_label = nn.Dense(wide, use_bias=False, **types)
    self.drop = nn.Dropout(self.dropout)

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


def window_radius(kernel: int, least: int = 1) -> int:
  """Returns the radius of a window of side `kernel`.

  Raises:
    ValueError: if `kernel` is even or smaller than `least`.
  """
  if kernel < least or not kernel % 2:
    raise ValueError(f'kernel must be odd and at least {least}; got {kernel}.')
  return kernel // 2


def raster_conv(
  features: int, kernel: int, *, include_center: bool = True, **fields
) -> WindowConv:
  """Returns a causal k x k convolution: it reads earlier pixels only.

  Args:
    features: output channels.
    kernel: k, odd.
    include_center: whether it also reads the pixel itself.
    **fields: other fields of `WindowConv`.

  Raises:
    ValueError: if k is even.
  """
  r = window_radius(kernel)
  return WindowConv(
    features,
    rows=(-r, 0),
    columns=(-r, r),
    taps=r * kernel + r + include_center,
    **fields,
  )


def empty_map(
  batch_size: int,
  grid: tuple[int, int],
  channels: int,
  radius: int,
  dtype: jnp.dtype,
) -> jax.Array:
  """Returns an empty feature map [B, radius + h, w + 2 radius, D]."""
  h, w = grid
  return jnp.zeros((batch_size, radius + h, w + 2 * radius, channels), dtype)


def write_pixel(
  cached: jax.Array, x: jax.Array, position: jax.Array, radius: int
) -> jax.Array:
  """Writes the features x [B, D] of the pixel at `position`.

  Position -1 is in the margin.
  """
  i, j = _row_and_column(cached, position, radius)
  return jax.lax.dynamic_update_slice(
    cached,
    x[:, None, None].astype(cached.dtype),
    (0, i + radius, j + radius, 0),
  )


def read_rows(cached: jax.Array, position: jax.Array, radius: int) -> jax.Array:
  """Returns the row of `position` and the `radius` rows above it."""
  i, _ = _row_and_column(cached, position, radius)
  rows = jax.lax.dynamic_slice_in_dim(cached, i, radius + 1, axis=1)
  return rows[:, :, radius : rows.shape[2] - radius]


def read_window(
  cached: jax.Array, position: jax.Array, radius: int
) -> jax.Array:
  """Returns the window [B, radius + 1, 2 radius + 1, D] of `position`."""
  i, j = _row_and_column(cached, position, radius)
  b, _, _, d = cached.shape
  return jax.lax.dynamic_slice(
    cached, (0, i, j, 0), (b, radius + 1, 2 * radius + 1, d)
  )


def step(
  conv: WindowConv, cached: jax.Array, x: jax.Array, position: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Applies a `raster_conv` to one pixel.

  Args:
    conv: the convolution.
    cached: the feature map of its input before `position`.
    x: [B, D], its input at `position`.
    position: int32 [].

  Returns:
    [B, features], and the updated feature map.
  """
  radius = -conv.rows[0]
  cached = write_pixel(cached, x, position, radius)
  return conv.pixel(read_window(cached, position, radius)), cached


def _row_and_column(cached, position, radius):
  """Returns the row and the column of `position`."""
  return jnp.divmod(position, cached.shape[2] - 2 * radius)
