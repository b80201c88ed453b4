"""Laws of causal convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax.layers import causal_convolution as causal
from vq_jax.layers import gated_pixelcnn

# With 8 and 16 channels XLA:CPU takes the ways that it takes with more.
H, W, D, F = 4, 5, 8, 16
WINDOWS = {
  'above': causal.WindowConv(F, (-2, -1), (-2, 2)),
  'one row above': causal.WindowConv(F, (-1, -1), (0, 0)),
  'above and beside': causal.WindowConv(F, (-1, 0), (-1, 1)),
  'left': causal.WindowConv(F, (0, 0), (-3, -1)),
  'one to the left': causal.WindowConv(F, (0, 0), (-1, -1)),
  'left and itself': causal.WindowConv(F, (0, 0), (-1, 0)),
  'before': causal.raster_conv(F, 5, include_center=False),
  'before and itself': causal.raster_conv(F, 3),
  'itself': causal.raster_conv(F, 1),
}
every = pytest.mark.parametrize('name', WINDOWS)


def features(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def make(name):
  conv, x = WINDOWS[name], features(2, H, W, D)
  return conv, random_variables(conv, x), x


def window(conv, i, j):
  """Yields tap, row and column of the pixels in a kernel's window."""
  taps = [
    (i + a, j + b)
    for a in range(conv.rows[0], conv.rows[1] + 1)
    for b in range(conv.columns[0], conv.columns[1] + 1)
  ]
  for tap, (a, b) in enumerate(taps[: conv.taps]):
    yield tap, a, b


@every
def test_formula(name):
  conv, variables, x = make(name)
  params = jax.tree.map(np.asarray, variables['params'])
  kernel, bias = params['kernel'], params['bias']
  want = np.zeros((2, H, W, F)) + bias
  for i, j in np.ndindex(H, W):
    for tap, a, b in window(conv, i, j):
      if 0 <= a < H and 0 <= b < W:
        want[:, i, j] += x[:, a, b] @ kernel[tap]
  got = jax.jit(conv.apply)(variables, x)
  np.testing.assert_allclose(got, want, atol=1e-5)


@every
def test_the_gradient_is_the_transpose(name):
  """<conv x, y> = <x, conv^T y>."""
  conv, variables, x = make(name)
  variables['params']['bias'] *= 0

  @jax.jit
  def both(x, y):
    out, transpose = jax.vjp(lambda x: conv.apply(variables, x), x)
    return jnp.sum(out * y, (1, 2, 3)), jnp.sum(x * transpose(y)[0], (1, 2, 3))

  forward, backward = both(x, features(2, H, W, F, seed=1))
  np.testing.assert_allclose(forward, backward, atol=1e-4)


@every
def test_a_row_and_a_pixel_equal_the_whole_map(name):
  conv, variables, x = make(name)
  (top, bottom), (left, right) = conv.rows, conv.columns
  whole = conv.apply(variables, x)
  zeros = ((0, 0), (-top, 0), (-left, right if right > 0 else 0), (0, 0))
  padded = np.pad(x, zeros)

  @jax.jit
  def apply(rows, window):
    return (
      conv.apply(variables, rows, method='row'),
      conv.apply(variables, window, method='pixel'),
    )

  for i, j in [(0, 0), (0, W - 1), (1, 2), (H - 1, 0), (H - 1, W - 1)]:
    rows = padded[:, i : i + bottom - top + 1]
    row, pixel = apply(
      rows[:, :, -left : W - left], rows[:, :, j : j + right - left + 1]
    )
    np.testing.assert_allclose(row, whole[:, i], atol=1e-5)
    np.testing.assert_allclose(pixel, whole[:, i, j], atol=1e-5)


@pytest.mark.parametrize('kernel', [3, 5])
@pytest.mark.parametrize('itself', [False, True])
def test_a_raster_convolution_sees_what_comes_before(kernel, itself):
  """It sees the earlier pixels of a square, in raster order."""
  conv = causal.raster_conv(F, kernel, include_center=itself)
  one_pixel_each = np.eye(H * W, dtype=np.float32).reshape(-1, H, W, 1)
  variables = random_variables(conv, one_pixel_each)
  variables['params']['bias'] *= 0
  moved = np.abs(jax.jit(conv.apply)(variables, one_pixel_each)).max(axis=-1)
  rows, columns = np.indices((H, W)).reshape(2, -1)
  far = [np.abs(x[:, None] - x) > kernel // 2 for x in (rows, columns)]
  want = np.tri(H * W, k=int(itself) - 1, dtype=bool) & ~far[0] & ~far[1]
  np.testing.assert_array_equal(moved.reshape(H * W, -1).T > 0, want)


@pytest.mark.parametrize('radius', [1, 2])
def test_a_map_is_read_as_it_was_written(radius):
  x = features(2, H, W, D)
  padded = np.pad(x, ((0, 0), (radius, 0), (radius, radius), (0, 0)))

  def write(cached, position):
    i, j = jnp.divmod(position, W)
    pixel = jnp.asarray(x)[:, i, j] * (position >= 0)
    cached = causal.write_pixel(cached, pixel, position, radius)
    return cached, (
      causal.read_window(cached, position, radius),
      causal.read_rows(cached, position, radius),
    )

  @jax.jit
  def fill():
    cached = causal.empty_map(2, (H, W), D, radius, jnp.float32)
    return jax.lax.scan(write, cached, jnp.arange(-1, H * W))

  cached, (windows, rows) = fill()
  np.testing.assert_array_equal(cached, padded)
  for i, j in np.ndindex(H, W):
    now = padded.copy()
    now[:, radius + i, radius + j + 1 :] = 0
    now[:, radius + i + 1 :] = 0
    now = now[:, i : i + radius + 1]
    position = i * W + j + 1
    np.testing.assert_array_equal(
      windows[position], now[:, :, j : j + 2 * radius + 1]
    )
    np.testing.assert_array_equal(
      rows[position], now[:, :, radius : radius + W]
    )


def test_steps_equal_the_whole_map():
  conv, variables, x = make('before and itself')

  @jax.jit
  def run():
    def step(cached, inputs):
      pixel, position = inputs
      y, cached = conv.apply(
        variables,
        cached,
        pixel,
        position,
        method=lambda conv, *args: causal.step(conv, *args),
      )
      return cached, y

    cached = causal.empty_map(2, (H, W), D, 1, jnp.float32)
    pixels = jnp.moveaxis(x.reshape(2, H * W, D), 1, 0)
    return jax.lax.scan(step, cached, (pixels, jnp.arange(H * W)))[1]

  want = conv.apply(variables, x).reshape(2, H * W, F)
  np.testing.assert_allclose(jnp.moveaxis(run(), 0, 1), want, atol=1e-5)


@pytest.mark.parametrize('first', [False, True])
def test_a_layer_of_two_stacks_by_its_formula(first):
  """Figure 2 of the paper, from its two convolutions on."""
  layer = gated_pixelcnn.TwoStackLayer(D, 3, first=first)
  v, h = features(2, H, W, D), features(2, H, W, D, seed=1)
  bias = features(2, 2, 1, 1, 2 * D, seed=2)
  biases = tuple(bias[:, :, 0, 0])
  variables = random_variables(layer, v, h, biases)
  params = jax.tree.map(np.asarray, variables['params'])
  apply = jax.jit(lambda v, h: layer.apply(variables, v, h, biases))
  parts = layer.bind(variables)
  y = np.asarray(parts.vertical(v))
  z = np.asarray(parts.horizontal(h)) + y @ params['link']['kernel'] + bias[1]

  def gate(y):
    return np.tanh(y[..., :D]) / (1 + np.exp(-y[..., D:]))

  out = gate(z) @ params['out']['kernel'] + params['out']['bias']
  vertical, horizontal = apply(v, h)
  np.testing.assert_allclose(vertical, gate(y + bias[0]), atol=1e-5)
  np.testing.assert_allclose(horizontal, out + (not first) * h, atol=1e-5)


@pytest.mark.parametrize('kernel', [0, 2, 4])
def test_a_window_without_a_middle_is_refused(kernel):
  with pytest.raises(ValueError, match='must be odd'):
    causal.raster_conv(F, kernel)
