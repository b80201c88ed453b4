"""Convolutions that look back over a grid which is filled row by row.

The same weights serve a whole map, as in training, and a single row or pixel,
as in sampling. The windows of pixels are cut from a cached map, which has a
margin of zeros above, left and right: as wide as the windows reach.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class WindowConv(nn.Module):
  """A convolution whose window need not be centred on the pixel.

  Attributes:
    features: output channels.
    rows: first and last row of the window, counted from the pixel's: (-2, -1)
      are the two rows above.
    columns: first and last column, likewise.
    taps: how many places of the window have weights, in raster order; all by
      default.
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
    """Maps [B, h, w, D] to [B, h, w, features]; outside of it lie zeros."""
    return self._convolve(x, (-self.rows[0], self.rows[1]))

  def row(self, x: jax.Array) -> jax.Array:
    """Maps the rows of a row's windows, [B, n, w, D], to [B, w, features]."""
    return self._convolve(x, (0, 0))[:, 0]

  def pixel(self, window: jax.Array) -> jax.Array:
    """Maps the window of a pixel, [B, n, m, D], to [B, features]."""
    b, d = window.shape[0], window.shape[-1]
    x, kernel, bias = self._weights(window)
    x = x.reshape(b, -1, d)[:, : kernel.shape[0]].reshape(b, -1)
    return x @ kernel.reshape(-1, self.features) + jnp.expand_dims(bias, 0)

  def _size(self):
    """Returns the rows and columns of the window."""
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

  def _convolve(self, x, above_and_below):
    x, kernel, bias = self._weights(x)
    n, m = self._size()
    kernel = jnp.pad(kernel, ((0, n * m - kernel.shape[0]), (0, 0), (0, 0)))
    # A window that ends before the pixel's row or column needs less than there
    # is on that side: a pad of -1 crops. It stands apart from the convolution:
    # with negative padding, as also the gradient would have it, XLA:CPU lets a
    # 1 x 1 convolution read beside the array.
    sides = (*above_and_below, 0), (-self.columns[0], self.columns[1], 0)
    whole = (0, 0, 0)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), (whole, *sides, whole))
    y = jax.lax.conv_general_dilated(
      x,
      kernel.reshape(n, m, *kernel.shape[1:]),
      window_strides=(1, 1),
      padding='VALID',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    return y + jnp.expand_dims(bias, (0, 1, 2))


class TwoStackLayer(nn.Module):
  """A layer of Gated PixelCNN (van den Oord et al. 2016, figure 2).

  The vertical stack sees rows above, the horizontal one pixels to the left and
  what the vertical one makes of its windows.

  Attributes:
    channels: C, of both stacks.
    kernel: side of the windows, odd.
    first: whether the input is the tokens: a pixel does not see its own, and
      there is no residual. Its kernel is at least 3.
    dropout: rate on what the gates let through.
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
    r = radius_of(self.kernel, least=3 if self.first else 1)
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
    """Maps both stacks, [B, h, w, C] each; dropout draws from 'dropout'."""
    for_vertical, for_horizontal = (jnp.expand_dims(b, (1, 2)) for b in biases)
    y = self.vertical(vertical)
    vertical = self._gate(y + for_vertical, train)
    y = self.horizontal(horizontal) + self.link(y) + for_horizontal
    return vertical, self._add(horizontal, y, train)

  def row(
    self, rows: jax.Array, biases: tuple[jax.Array, jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    """Computes a row of the vertical stack.

    Args:
      rows: [B, n, w, C], the rows that its windows see.
      biases: see `biases`.

    Returns:
      [B, w, C], and the link to the horizontal stack, [B, w, 2 C].
    """
    for_vertical, for_horizontal = (b[:, None] for b in biases)
    y = self.vertical.row(rows)
    return self._gate(y + for_vertical), self.link(y) + for_horizontal

  def pixel(self, window: jax.Array, link: jax.Array) -> jax.Array:
    """Maps a window [B, m, C] to the left and a link [B, 2 C] to [B, C]."""
    y = self.horizontal.pixel(window[:, None]) + link
    return self._add(window[:, -1], y)

  def biases(
    self, batch_size: int, label: jax.Array | None
  ) -> tuple[jax.Array, jax.Array]:
    """Returns what a label [B, D] adds in the gates of both: [B, 2 C] each."""
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


def radius_of(kernel: int, least: int = 1) -> int:
  """Returns how far a window of side `kernel` reaches from its middle.

  Raises:
    ValueError: if it has no middle, or is smaller than `least`.
  """
  if kernel < least or not kernel % 2:
    raise ValueError(
      'a causal window has a pixel in its middle, so its side must be odd, and '
      f'here at least {least}; got {kernel}.'
    )
  return kernel // 2


def raster_conv(
  features: int, kernel: int, *, itself: bool = True, **fields
) -> WindowConv:
  """Returns the half of a k x k convolution that comes first in raster order.

  Args:
    features: output channels.
    kernel: k, odd.
    itself: whether the pixel in the middle belongs to it.
    **fields: others of `WindowConv`.

  Raises:
    ValueError: if k is even.
  """
  r = radius_of(kernel)
  return WindowConv(
    features,
    rows=(-r, 0),
    columns=(-r, r),
    taps=r * kernel + r + itself,
    **fields,
  )


def empty_map(
  batch_size: int,
  grid: tuple[int, int],
  channels: int,
  radius: int,
  dtype: jnp.dtype,
) -> jax.Array:
  """Returns zeros [B, radius + h, w + 2 radius, D]: a map and its margin."""
  h, w = grid
  return jnp.zeros((batch_size, radius + h, w + 2 * radius, channels), dtype)


def write_pixel(
  cached: jax.Array, x: jax.Array, position: jax.Array, radius: int
) -> jax.Array:
  """Writes the features x [B, D] of the pixel at a position into a map.

  Position -1, before the first, lies in the margin.
  """
  i, j = _place(cached, position, radius)
  return jax.lax.dynamic_update_slice(
    cached,
    x[:, None, None].astype(cached.dtype),
    (0, i + radius, j + radius, 0),
  )


def read_rows(cached: jax.Array, position: jax.Array, radius: int) -> jax.Array:
  """Returns the row of a position below the `radius` rows above it."""
  i, _ = _place(cached, position, radius)
  rows = jax.lax.dynamic_slice_in_dim(cached, i, radius + 1, axis=1)
  return rows[:, :, radius : rows.shape[2] - radius]


def read_window(
  cached: jax.Array, position: jax.Array, radius: int
) -> jax.Array:
  """Returns the window [B, radius + 1, 2 radius + 1, D] of a position."""
  i, j = _place(cached, position, radius)
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
    cached: the map of its input before the position.
    x: [B, D], its input at the position.
    position: int32 [].

  Returns:
    [B, features], and the map with the pixel in it.
  """
  radius = -conv.rows[0]
  cached = write_pixel(cached, x, position, radius)
  return conv.pixel(read_window(cached, position, radius)), cached


def _place(cached, position, radius):
  """Returns the row and the column of a position."""
  return jnp.divmod(position, cached.shape[2] - 2 * radius)
