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
