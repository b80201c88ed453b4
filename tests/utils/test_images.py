"""Laws of pixel ranges, grids and PNG files."""

import io

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from vq_jax.utils import images

ALL = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def batch(n, h=2, w=3, c=1, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 255, (n, h, w, c)).astype(np.uint8)  # never white


def test_every_pixel_value_survives_the_round_trip():
  unit = images.to_float(ALL)
  assert unit.dtype == jnp.float32
  assert (unit.min(), unit.max()) == (0, 1)
  np.testing.assert_array_equal(images.to_uint8(unit), ALL)
  np.testing.assert_array_equal(images.to_uint8(ALL), ALL)


def test_on_the_host_every_value_is_the_nearest_float():
  np.testing.assert_array_equal(images.to_float(ALL), ALL / np.float32(255))
  np.testing.assert_allclose(
    images.to_float(jnp.asarray(ALL)), images.to_float(ALL), rtol=2e-7
  )


def test_floats_pass_as_float32():
  for dtype in [np.float64, jnp.bfloat16, np.float32]:
    x = np.array([0.25, -0.5, 1.5], dtype)
    got = images.to_float(x)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, [0.25, -0.5, 1.5])


def test_floats_are_clipped_and_rounded_to_the_nearest():
  x = np.array([-3.0, 0.4 / 255, 0.6 / 255, 127.4 / 255, 2.0], np.float32)
  np.testing.assert_array_equal(images.to_uint8(x), [0, 0, 1, 127, 255])
  np.testing.assert_array_equal(
    images.to_uint8(jnp.array([0.5, 1.0], jnp.bfloat16)), [128, 255]
  )


@pytest.mark.parametrize('dtype', [np.int32, np.int64, np.bool_, np.uint16])
@pytest.mark.parametrize('function', [images.to_float, images.to_uint8])
def test_other_types_are_refused_by_name(function, dtype):
  """Silently, an int32 image in [0, 255] would come out black and white."""
  with pytest.raises(TypeError, match=np.dtype(dtype).name):
    function(np.zeros((1, 2, 2, 1), dtype))


@pytest.mark.parametrize(
  'value_range', [(-1.0, 1.0), (-0.5, 0.5), (0.0, 255.0)]
)
def test_from_range_undoes_to_range(value_range):
  unit = np.linspace(-0.5, 1.5, 50, dtype=np.float32)
  inside = images.to_range(unit, value_range)
  np.testing.assert_allclose(
    images.to_range(np.array([0.0, 1.0]), value_range), value_range
  )
  np.testing.assert_allclose(
    images.from_range(inside, value_range), unit, atol=1e-6
  )


@pytest.mark.parametrize(
  ('n', 'columns', 'layout'),
  [
    (4, None, (2, 2)),
    (5, None, (2, 3)),
    (5, 2, (3, 2)),
    (3, 3, (1, 3)),
    (1, None, (1, 1)),
  ],
)
@pytest.mark.parametrize('pad', [0, 1, 3])
@pytest.mark.parametrize('scale', [1, 2])
def test_grid_row_by_row_and_white_elsewhere(n, columns, layout, pad, scale):
  tiles = batch(n)
  canvas = images.grid(tiles, columns=columns, pad=pad, scale=scale)
  rows, across = layout
  h, w = 2 * scale, 3 * scale
  assert canvas.dtype == np.uint8
  assert canvas.shape == (
    rows * h + (rows + 1) * pad,
    across * w + (across + 1) * pad,
    1,
  )
  white = np.ones(canvas.shape, bool)
  for i, tile in enumerate(tiles):
    top = pad + (i // across) * (h + pad)
    left = pad + (i % across) * (w + pad)
    position = np.s_[top : top + h, left : left + w]
    np.testing.assert_array_equal(
      canvas[position], np.kron(tile, np.ones((scale, scale, 1), np.uint8))
    )
    white[position] = False
  assert (canvas[white] == 255).all()


def test_side_by_side_puts_an_example_in_a_column():
  originals, copies = batch(3), batch(3, seed=1)
  both = images.stack_rows(originals, images.to_float(copies))
  canvas = images.grid(both, columns=3, pad=0)
  for i in range(3):
    column = canvas[:, 3 * i : 3 * i + 3]
    np.testing.assert_array_equal(column[:2], originals[i])
    np.testing.assert_array_equal(column[2:], copies[i])


@pytest.mark.parametrize(
  ('channels', 'mode'), [(1, 'L'), (3, 'RGB'), (4, 'RGBA')]
)
def test_png_is_lossless(channels, mode):
  image = batch(1, 5, 7, channels)[0]
  read = PIL.Image.open(io.BytesIO(images.encode_png(image)))
  assert read.mode == mode
  np.testing.assert_array_equal(np.asarray(read).reshape(5, 7, channels), image)


@pytest.mark.parametrize(
  'text',
  ['vqjax edit a.png', 'Größe 16 \N{MULTIPLICATION SIGN} 16 \N{SNOWMAN}'],
)
def test_a_png_holds_a_comment_and_nothing_else(text, tmp_path):
  images.save_image(tmp_path / 'a.png', batch(1)[0], comment=text)
  with PIL.Image.open(tmp_path / 'a.png') as read:
    read.load()
    assert read.info == {'Comment': text}
  images.save_image(tmp_path / 'a.png', batch(1)[0])
  with PIL.Image.open(tmp_path / 'a.png') as read:
    read.load()
    assert read.info == {}


@pytest.mark.parametrize('channels', [1, 3])
def test_saved_files_can_be_read_back(tmp_path, channels):
  image = batch(1, 5, 7, channels)[0]
  path = tmp_path / 'not' / 'yet' / 'there.png'
  images.save_image(path, images.to_float(image))
  images.save_image(str(path), images.to_float(image))  # over itself
  with PIL.Image.open(path) as read:
    np.testing.assert_array_equal(np.asarray(read).reshape(image.shape), image)
  assert [p.name for p in path.parent.iterdir()] == ['there.png']


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / 'a.png'
  images.save_image(path, batch(1)[0])
  before = path.read_bytes()

  def torn(self, data):
    with open(self, 'wb') as file:
      file.write(data[:3])
    raise OSError('disk full')

  monkeypatch.setattr('pathlib.Path.write_bytes', torn)
  with pytest.raises(OSError, match='disk full'):
    images.save_image(path, batch(1, seed=1)[0])
  assert path.read_bytes() == before
  assert list(tmp_path.iterdir()) == [path]


def test_numbers_of_images_in_words():
  words = [images.count(number) for number in (0, 1, 2)]
  assert words == ['0 images', '1 image', '2 images']
