import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from vq_jax import data
from vq_jax.data.decode import decode_image
from vq_jax.data.splits import parse_split


def _pixels(h=8, w=8, c=3, seed=0):
  return np.random.default_rng(seed).integers(0, 256, (h, w, c), np.uint8)


def _write(path, pixels, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  if pixels.shape[-1] == 1:
    pixels = pixels[..., 0]
  Image.fromarray(pixels).save(path, **options)


def _class_folder(root, counts, size=8):
  seed = 0
  for name, count in counts.items():
    for i in range(count):
      _write(root / name / f'{i}.png', _pixels(size, size, seed=seed))
      seed += 1


# Splits.


@pytest.mark.parametrize(
  'text, rows',
  [
    ('train', range(0, 200)),
    ('train[:10%]', range(0, 20)),
    ('train[90%:]', range(180, 200)),
    ('train[100:150]', range(100, 150)),
    ('train[-10:]', range(190, 200)),
    ('train[:-5%]', range(0, 190)),
    ('train[1_0:2_0]', range(10, 20)),
    ('train[12.5%:]', range(25, 200)),
  ],
)
def test_slices(text, rows):
  assert parse_split(text).rows(200) == rows


def test_two_complementary_slices_are_the_whole():
  for n in (1, 7, 33, 101):
    for percent in (1, 33, 50, 99):
      try:
        left = parse_split(f'train[:{percent}%]').rows(n)
        right = parse_split(f'train[{percent}%:]').rows(n)
      except data.DataError:
        continue  # one of them is empty
      assert [*left, *right] == list(range(n))


@pytest.mark.parametrize(
  'text', ['', 'train[', 'train[a:b]', 'train[3]', 'train[1.5:]']
)
def test_malformed_splits(text):
  with pytest.raises(data.DataError, match='must read like'):
    parse_split(text)


@pytest.mark.parametrize('text', ['train[:11]', 'train[5:5]', 'train[-11:]'])
def test_slices_outside_the_split(text):
  with pytest.raises(data.DataError, match='10 examples'):
    parse_split(text).rows(10)


# Specs.


@pytest.mark.parametrize(
  'spec', ['coco', 'hub:x', 'tfds:', 'folder:', 'npz:', '']
)
def test_unknown_spec_lists_the_valid_ones(spec):
  with pytest.raises(data.DataError, match='tfds:<name>, folder:<path>, npz:'):
    data.open_source(spec)


# Folders.


def test_class_folders(tmp_path):
  _class_folder(tmp_path, {'dog': 3, 'cat': 2})
  _write(tmp_path / 'cat' / 'deeper' / 'x.webp', _pixels(), lossless=True)
  _write(tmp_path / '.hidden' / 'x.png', _pixels())
  _write(tmp_path / 'cat' / '._x.png', _pixels())
  (tmp_path / 'cat' / 'notes.txt').write_text('no image')
  with pytest.warns(data.FolderWarning, match='1 file that is no image: .txt'):
    source = data.open_source(f'folder:{tmp_path}')
  assert source.class_names == ('cat', 'dog') and source.num_classes == 2
  labels = [int(source[i]['label']) for i in range(len(source))]
  assert sorted(labels) == [0, 0, 0, 1, 1, 1]
  example = source[0]
  assert example['image'].dtype == np.uint8
  assert example['label'].dtype == np.int32
  assert 'folder:' in repr(source) and '6 examples' in repr(source)


def test_flat_folder_is_one_class(tmp_path):
  for i in range(3):
    _write(tmp_path / f'{i}.JPEG', _pixels())
  source = data.open_source(f'folder:{tmp_path}')
  assert len(source) == 3 and source.num_classes == 1
  assert {int(source[i]['label']) for i in range(3)} == {0}


def test_one_class_folder(tmp_path):
  _class_folder(tmp_path, {'cat': 2})
  source = data.open_source(f'folder:{tmp_path}')
  assert source.class_names == ('cat',)


def test_folder_order_is_mixed_and_survives_a_move(tmp_path):
  _class_folder(tmp_path / 'a', {'x': 40, 'y': 40})
  (tmp_path / 'a').rename(tmp_path / 'b')
  _class_folder(tmp_path / 'a', {'x': 40, 'y': 40})
  a, b = (data.open_source(f'folder:{tmp_path / n}') for n in 'ab')
  for i in range(80):
    np.testing.assert_array_equal(a[i]['image'], b[i]['image'])
  held_out = data.open_source(f'folder:{tmp_path / "a"}', 'train[75%:]')
  assert len(held_out) == 20
  labels = [int(held_out[i]['label']) for i in range(20)]
  assert 4 <= sum(labels) <= 16
  for i in range(20):
    np.testing.assert_array_equal(held_out[i]['image'], a[60 + i]['image'])


def test_split_folders_share_the_classes_of_train(tmp_path):
  _class_folder(tmp_path / 'train', {'ant': 2, 'bee': 2})
  _class_folder(tmp_path / 'val', {'bee': 3})
  source = data.open_source(f'folder:{tmp_path}', 'val[:2]')
  assert len(source) == 2 and source.class_names == ('ant', 'bee')
  assert int(source[0]['label']) == 1
  with pytest.raises(
    data.DataError, match="no split 'test'; it has train, val"
  ):
    data.open_source(f'folder:{tmp_path}', 'test')
  _class_folder(tmp_path / 'val', {'wasp': 1})
  with pytest.raises(data.DataError, match='also has wasp'):
    data.open_source(f'folder:{tmp_path}', 'val')


def test_folder_without_split_folders_has_only_train(tmp_path):
  _class_folder(tmp_path, {'ant': 2})
  with pytest.raises(data.DataError, match=r"'test'; it has train\..*\[90%:\]"):
    data.open_source(f'folder:{tmp_path}', 'test')


def test_faulty_folders_are_refused(tmp_path):
  with pytest.raises(data.DataError, match='there is nothing at'):
    data.open_source(f'folder:{tmp_path / "missing"}')
  with pytest.raises(data.DataError, match='it holds none'):
    data.open_source(f'folder:{tmp_path}')
  (tmp_path / 'file').write_text('x')
  with pytest.raises(data.DataError, match='there is a file at'):
    data.open_source(f'folder:{tmp_path / "file"}')
  _class_folder(tmp_path, {'ant': 1})
  _write(tmp_path / 'stray.png', _pixels())
  with pytest.raises(data.DataError, match='stray.png lies beside'):
    data.open_source(f'folder:{tmp_path}')


def test_links_are_followed_but_not_in_circles(tmp_path):
  _class_folder(tmp_path / 'elsewhere', {'ant': 2})
  root = tmp_path / 'root'
  root.mkdir()
  (root / 'ant').symlink_to(tmp_path / 'elsewhere' / 'ant')
  (tmp_path / 'elsewhere' / 'ant' / 'loop').symlink_to(root)
  assert len(data.open_source(f'folder:{root}')) == 2


def test_folder_channels(tmp_path):
  for i in range(3):
    _write(tmp_path / 'grey' / f'{i}.png', _pixels(c=1))
    _write(tmp_path / 'mixed' / f'{i}.png', _pixels(c=1))
  _write(tmp_path / 'mixed' / 'colour.png', _pixels())

  def channels(name, **options):
    source = data.open_source(f'folder:{tmp_path / name}', **options)
    return {source[i]['image'].shape[-1] for i in range(len(source))}

  assert channels('grey') == {1}
  assert channels('mixed') == {3}
  assert channels('grey', channels=3) == {3}
  assert channels('mixed', channels=1) == {1}
  assert channels('mixed', split='train[:1]') == {3}
  with pytest.raises(data.DataError, match='1 .grey., 3'):
    channels('grey', channels=4)


# What files hold.


def _decoded(tmp_path, image, suffix='.png', channels=None, **options):
  path = tmp_path / f'image{suffix}'
  image.save(path, **options)
  return decode_image(path, channels=channels, name='image')


def test_transparency_lies_on_white(tmp_path):
  rgba = np.zeros((2, 2, 4), np.uint8)
  rgba[0, 0] = (255, 0, 0, 255)
  rgba[0, 1] = (255, 0, 0, 0)
  rgba[1, 0] = (0, 0, 0, 51)
  pixels = _decoded(tmp_path, Image.fromarray(rgba))
  assert pixels[0, 0].tolist() == [255, 0, 0]
  assert pixels[0, 1].tolist() == [255, 255, 255]
  assert pixels[1, 0].tolist() == [204, 204, 204]
  grey = Image.fromarray(rgba).convert('LA')
  assert _decoded(tmp_path, grey)[0, 1].tolist() == [255]


def test_palette_becomes_rgb(tmp_path):
  image = Image.new('P', (2, 1))
  image.putpalette([10, 20, 30, 40, 50, 60])
  image.putpixel((1, 0), 1)
  expected = [[[10, 20, 30], [40, 50, 60]]]
  assert _decoded(tmp_path, image).tolist() == expected
  shown = _decoded(tmp_path, image, transparency=0)
  assert shown.tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_sixteen_bits_become_eight(tmp_path):
  wide = np.array([[0, 257, 128, 32896, 65535]], np.uint16)
  pixels = _decoded(tmp_path, Image.fromarray(wide))
  assert pixels[..., 0].tolist() == [[0, 1, 0, 128, 255]]
  assert _decoded(tmp_path, Image.fromarray(wide), channels=3).shape == (
    1,
    5,
    3,
  )


def test_bilevel_and_cmyk(tmp_path):
  bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert('1')
  assert _decoded(tmp_path, bits)[..., 0].tolist() == [[0, 255]]
  cmyk = Image.new('CMYK', (8, 8), (0, 0, 0, 0))
  white = _decoded(tmp_path, cmyk, '.jpg')
  assert white.shape == (8, 8, 3) and white.min() > 250


def test_exif_orientation_is_applied(tmp_path):
  pixels = np.zeros((16, 32, 3), np.uint8)
  pixels[:, 16:] = 255
  exif = Image.Exif()
  exif[0x0112] = 6  # turned clockwise to be seen upright
  turned = _decoded(tmp_path, Image.fromarray(pixels), '.jpg', exif=exif)
  assert turned.shape == (32, 16, 3)
  assert turned[:8].mean() < 5 and turned[-8:].mean() > 250


def test_lossless_formats_are_exact(tmp_path):
  pixels = _pixels(9, 7)
  for suffix, options in (('.png', {}), ('.webp', {'lossless': True})):
    out = _decoded(tmp_path, Image.fromarray(pixels), suffix, **options)
    np.testing.assert_array_equal(out, pixels)
  jpeg = _decoded(tmp_path, Image.fromarray(pixels), '.jpg', quality=95)
  assert jpeg.shape == (9, 7, 3)


# Arrays.


def test_npz(tmp_path):
  path = tmp_path / 'x.npz'
  images, labels = _pixels(20, 4, 4)[..., :3], np.arange(20) % 4
  images = np.repeat(images[:, None], 4, axis=1)
  np.savez(path, images=images, labels=labels)
  source = data.open_source(f'npz:{path}', 'train[25%:]')
  assert len(source) == 15 and source.num_classes == 4
  np.testing.assert_array_equal(source[0]['image'], images[5])
  assert source[0]['label'] == 1 and source[0]['label'].dtype == np.int32
  assert data.open_source(f'npz:{path}', channels=1).image_shape == (4, 4, 1)
  np.savez(path, images=images[..., 0])
  source = data.open_source(f'npz:{path}')
  assert source.image_shape == (4, 4, 1) and source.num_classes == 1
  with pytest.raises(data.DataError, match="no split 'test'"):
    data.open_source(f'npz:{path}', 'test')


def test_faulty_npz_files_are_refused(tmp_path):
  path = tmp_path / 'x.npz'
  with pytest.raises(data.DataError, match='np.savez'):
    data.open_source(f'npz:{path}')
  path.write_bytes(b'no archive')
  with pytest.raises(data.DataError, match='np.savez'):
    data.open_source(f'npz:{path}')
  np.savez(path, photos=np.zeros(3))
  with pytest.raises(data.DataError, match='it has photos'):
    data.open_source(f'npz:{path}')
  np.savez(path, images=np.array([{}], object))
  with pytest.raises(data.DataError, match='np.savez'):
    data.open_source(f'npz:{path}')
  for content, message in (
    (b'', 'it is empty'),
    (b'version https://git-lfs.github.com/spec/v1\n', '`git lfs pull`'),
    (b'PK\x03\x04', 'cut off or damaged'),
    (pickle.dumps([1]), 'pickled objects'),
  ):
    path.write_bytes(content)
    with pytest.raises(data.DataError, match=message):
      data.open_source(f'npz:{path}')
  np.save(tmp_path / 'y.npy', np.zeros(3))
  with pytest.raises(data.DataError, match='np.savez'):
    data.open_source(f'npz:{tmp_path / "y.npy"}')


@pytest.mark.parametrize(
  'images, labels, message',
  [
    (np.zeros((2, 4, 4, 3), np.float32), None, 'uint8 array .* float32'),
    (np.zeros((0, 4, 4, 3), np.uint8), None, 'non-empty'),
    (np.zeros((4, 4), np.uint8), None, 'N, H, W'),
    (np.zeros((2, 3, 4, 4), np.uint8), None, '1 or 3 channels, last'),
    (np.zeros((2, 4, 4), np.uint8), [0, 1, 2], r'integers \[2\]'),
    (np.zeros((2, 4, 4), np.uint8), [0.0, 1.0], 'float64'),
    (np.zeros((2, 4, 4), np.uint8), [0, -1], 'not be negative'),
    (np.zeros((2, 4, 4), np.uint8), [0, 2**32], 'below 1048576; .* 4294967296'),
    (np.zeros((1, 4, 4), np.uint8), np.array([2**63], np.uint64), 'from 0'),
  ],
)
def test_faulty_arrays_are_refused(images, labels, message):
  with pytest.raises(data.DataError, match=message):
    data.ArraySource(images, labels)


def test_array_labels_must_fit_the_class_names():
  images = np.zeros((2, 4, 4), np.uint8)
  with pytest.raises(data.DataError, match=r'\[0, 2\).*label 2'):
    data.ArraySource(images, [0, 2], class_names=('a', 'b'))
  source = data.ArraySource(images, [0, 1], class_names=('a', 'b', 'c'))
  assert source.num_classes == 3
  assert source.subset('train[:1]').num_classes == 3


# In memory.


def test_in_memory_is_the_same_source(tmp_path):
  _class_folder(tmp_path, {'ant': 5, 'bee': 5})
  source = data.open_source(f'folder:{tmp_path}')
  assert not data.fits_in_memory(source)
  memory = data.in_memory(source)
  assert memory.class_names == source.class_names
  for i in range(len(source)):
    np.testing.assert_array_equal(memory[i]['image'], source[i]['image'])
    assert memory[i]['label'] == source[i]['label']
  assert data.in_memory(memory) is memory
  assert data.fits_in_memory(memory)
  assert not data.fits_in_memory(memory, limit=10 * 8 * 8 * 3 - 1)
  with pytest.raises(data.DataError, match='must fit into 100 bytes'):
    data.in_memory(source, limit=100)


def test_in_memory_wants_one_size(tmp_path):
  _write(tmp_path / 'a.png', _pixels(8, 8))
  _write(tmp_path / 'b.png', _pixels(8, 12))
  source = data.open_source(f'folder:{tmp_path}')
  with pytest.raises(data.DataError, match='differ in size'):
    data.in_memory(source)
  memory = data.in_memory(source, preprocess=(data.CenterCrop(size=8),))
  assert memory.image_shape == (8, 8, 3)
  with pytest.raises(data.DataError, match='RandomFlip'):
    data.in_memory(source, preprocess=(data.RandomFlip(),))


def test_in_memory_leaves_unreadable_images_out(tmp_path):
  _class_folder(tmp_path, {'ant': 3})
  (tmp_path / 'ant' / 'bad.png').write_bytes(b'')
  source = data.open_source(f'folder:{tmp_path}')
  with pytest.warns(data.UnreadableImageWarning, match='bad.png'):
    memory = data.in_memory(source)
  assert len(memory) == 3
  source = data.open_source(f'folder:{tmp_path}', max_unreadable=0)
  with pytest.raises(data.DataError, match='max_unreadable is 0.*bad.png'):
    data.in_memory(source)
  for path in (tmp_path / 'ant').glob('?.png'):
    path.unlink()
  source = data.open_source(f'folder:{tmp_path}')
  with pytest.warns(data.UnreadableImageWarning):
    with pytest.raises(data.DataError, match='none of the 1 images'):
      data.in_memory(source)
  with pytest.raises(data.DataError, match='max_unreadable must be a whole'):
    data.open_source(f'folder:{tmp_path}', max_unreadable=-1)


# Imports.


def test_importing_the_package_is_light():
  code = (
    'import sys, vq_jax.data; '
    "heavy = {'grain', 'tensorflow_datasets', 'tensorflow', 'PIL'}; "
    'print(sorted(heavy & set(sys.modules)))'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == '[]'


class Stripes(data.ArraySource):
  """A source that is named by its import path."""

  def __init__(self, split):
    images = np.zeros((6, 4, 4, 1), np.uint8)
    super().__init__(images, np.arange(6) % 2, name=f'stripes {split}')


def numbers(split):
  return [1, 2, 3]


def test_a_source_of_ones_own_is_named_by_its_path():
  found = data.open_source(f'{__name__}:Stripes', 'test', channels=1)
  assert isinstance(found, Stripes) and found.name == 'stripes test'
  assert len(found) == 6 and found.num_classes == 2


@pytest.mark.parametrize(
  ('spec', 'channels', 'message'),
  [
    (f'{__name__}:Stripes', 3, 'stripes train has images .* not of 3 channels'),
    (
      f'{__name__}:numbers',
      None,
      'return a vq_jax.data.Source; got a list',
    ),
    (f'{__name__}:Dots', None, 'source must be one of.*Dots'),
    ('nowhere.at_all:Dots', None, 'source must be one of.*nowhere'),
  ],
)
def test_a_wrong_source_path_is_named(spec, channels, message):
  with pytest.raises(data.DataError, match=message):
    data.open_source(spec, channels=channels)
