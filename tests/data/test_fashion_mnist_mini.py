"""The embedded data set, directly and as a TFDS data set."""

import gzip
import hashlib
import json
import pathlib
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from vq_jax import data
from vq_jax.data import fashion_mnist_mini as mini
from vq_jax.data.convert_tfrecord import convert_tfrecord
from vq_jax.data.fashion_mnist_mini import make

SPEC = 'tfds:fashion_mnist_mini'
FOLDER = pathlib.Path(mini.__file__).parent


@pytest.fixture(scope='session')
def data_dir(tmp_path_factory):
  """Prepared by two processes at once, as on two hosts with one disk."""
  path = tmp_path_factory.mktemp('tfds')
  code = (
    'import sys; from vq_jax import data; '
    f'print(len(data.open_source({SPEC!r}, "test", data_dir={str(path)!r}))); '
    'print("tensorflow" in sys.modules)'
  )
  processes = [
    subprocess.Popen(
      [sys.executable, '-c', code],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for _ in range(2)
  ]
  for process in processes:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.split() == ['2000', 'False']
    # One line says what takes so long.
    assert [line.split()[0] for line in err.splitlines()] == ['preparing']
  assert [p.name for p in (path / 'fashion_mnist_mini').iterdir()] == ['1.0.0']
  return path


@pytest.mark.parametrize('split, per_class', [('train', 1000), ('test', 200)])
def test_embedded_arrays_are_balanced(split, per_class):
  images, labels = mini.load(split)
  assert images.shape == (10 * per_class, 28, 28, 1)
  assert images.dtype == np.uint8 and labels.dtype == np.int32
  np.testing.assert_array_equal(labels, np.arange(10 * per_class) % 10)
  assert len({image.tobytes() for image in images}) > 0.99 * len(images)


def test_embedded_arrays_are_known():
  digests = {
    split: hashlib.sha256(mini.load(split)[0].tobytes()).hexdigest()[:16]
    for split in ('train', 'test')
  }
  assert digests == {'train': '86dc874cb93f2bd5', 'test': 'a9a3fef60943d6c2'}
  assert sum(p.stat().st_size for p in FOLDER.glob('*.xz')) < 5_000_000
  assert 'Zalando' in (FOLDER / 'LICENSE').read_text()


def test_make_takes_the_first_of_each_class_in_turn():
  labels = np.random.default_rng(0).integers(0, 10, 1000)
  rows = make.select(labels, 20)
  np.testing.assert_array_equal(labels[rows], np.arange(200) % 10)
  for c in range(10):
    np.testing.assert_array_equal(rows[c::10], np.flatnonzero(labels == c)[:20])


def test_make_writes_the_files_that_load_reads(tmp_path, monkeypatch):
  rng = np.random.default_rng(0)
  arrays, digests = {}, {}
  for stem, count in (('train', 300), ('t10k', 100)):
    pixels = rng.integers(0, 256, (count, 28, 28, 1), np.uint8)
    labels = rng.permutation(np.arange(count, dtype=np.uint8) % 10)
    arrays[stem] = pixels, labels
    for name, raw in (
      (f'{stem}-images-idx3-ubyte', bytes(16) + pixels.tobytes()),
      (f'{stem}-labels-idx1-ubyte', bytes(8) + labels.tobytes()),
    ):
      (tmp_path / f'{name}.gz').write_bytes(gzip.compress(raw))
      digests[name] = hashlib.md5(raw).hexdigest()
  monkeypatch.setattr(make, '_MD5', digests)
  monkeypatch.setattr(mini, 'PER_CLASS', {'train': 20, 'test': 5})
  monkeypatch.setattr(mini, 'archive_path', lambda s: tmp_path / f'{s}.xz')
  written = []
  for _ in range(2):
    make.make(tmp_path, tmp_path)
    written.append([mini.archive_path(s).read_bytes() for s in mini.PER_CLASS])
  assert written[0] == written[1]
  for split, stem in (('train', 'train'), ('test', 't10k')):
    pixels, labels = arrays[stem]
    images, chosen = mini.load(split)
    np.testing.assert_array_equal(chosen, np.arange(len(chosen)) % 10)
    for c in range(10):
      first = pixels[labels == c][: mini.PER_CLASS[split]]
      np.testing.assert_array_equal(images[chosen == c], first)


def test_make_refuses_other_files(tmp_path):
  for name in make._MD5:
    (tmp_path / f'{name}.gz').write_bytes(gzip.compress(b'something else'))
  with pytest.raises(ValueError, match='dataset-fashion-mnist'):
    make.make(tmp_path, tmp_path)
  assert not list(tmp_path.glob('*.xz'))


def test_tfds_gives_the_embedded_arrays(data_dir):
  for split in ('train', 'test'):
    source = data.open_source(SPEC, split, data_dir=data_dir)
    images, labels = mini.load(split)
    assert source.class_names == mini.CLASS_NAMES
    assert source.image_shape == (28, 28, 1)
    assert data.fits_in_memory(source)
    memory = data.in_memory(source)
    np.testing.assert_array_equal(memory.images, images)
    np.testing.assert_array_equal(memory.labels, labels)
    np.testing.assert_array_equal(source[7]['image'], images[7])
    assert source[7]['label'] == labels[7]


def test_tfds_slices_channels_and_names(data_dir):
  images, _ = mini.load('train')
  part = data.open_source(SPEC, 'train[10%:11%]', data_dir=data_dir)
  assert len(part) == 100
  np.testing.assert_array_equal(part[0]['image'], images[1000])
  both = data.open_source(f'{SPEC}:1.0.0', 'train+test', data_dir=str(data_dir))
  assert len(both) == 12_000
  colour = data.open_source(SPEC, data_dir=data_dir, channels=3)
  assert colour[0]['image'].shape == colour.image_shape == (28, 28, 3)


def test_faulty_tfds_requests_are_refused(data_dir, tmp_path):
  with pytest.raises(
    data.DataError, match="no split 'val'; it has train, test"
  ):
    data.open_source(SPEC, 'val', data_dir=data_dir)
  with pytest.raises(data.DataError, match='10000 examples'):
    data.open_source(SPEC, 'train[:99999]', data_dir=data_dir)
  for empty in ('train[9:3]', 'train[5:5]', 'test[:0%]'):
    with pytest.raises(data.DataError, match='must hold at least one example'):
      data.open_source(SPEC, empty, data_dir=data_dir)
  with pytest.raises(data.DataError, match="no data set 'no_such_set'"):
    data.open_source('tfds:no_such_set', data_dir=data_dir)
  with pytest.raises(data.DataError, match='at version 9.9.9, only: 1.0.0'):
    data.open_source(f'{SPEC}:9.9.9', data_dir=data_dir)
  (tmp_path / 'fashion_mnist_mini').write_text('in the way')
  with pytest.raises(data.DataError, match='could not be prepared in'):
    data.open_source(SPEC, data_dir=tmp_path)


def test_tfds_without_network_says_so(monkeypatch, tmp_path):
  import socket

  def no_network(*args):
    raise socket.gaierror(-2, 'Name or service not known')

  monkeypatch.setattr(socket, 'getaddrinfo', no_network)
  for name in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'):
    monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(name.upper(), raising=False)
  with pytest.raises(data.DataError, match='no network reaches www.cs.toronto'):
    data.open_source('tfds:cifar10', data_dir=tmp_path)
  # Files that somebody put there by hand need no network.
  with pytest.raises(data.DataError, match='prepared in .*ILSVRC2012_img_tr'):
    data.open_source('tfds:imagenet2012', data_dir=tmp_path)


def test_tfds_sources_can_be_sent_to_workers(data_dir):
  """As grain sends them; `test_pipeline` starts workers."""
  source = data.open_source(SPEC, 'test', data_dir=data_dir)
  copy = pickle.loads(pickle.dumps(source))
  images, _ = mini.load('test')
  np.testing.assert_array_equal(copy[7]['image'], images[7])


def _as_tfrecord(source, target):
  """Converts a TFDS data set from ArrayRecord to TFRecord files."""
  from array_record.python import array_record_data_source

  target.mkdir(parents=True)
  for path in source.iterdir():
    if '.array_record-' not in path.name:
      (target / path.name).write_bytes(path.read_bytes())
      continue
    records = array_record_data_source.ArrayRecordDataSource([str(path)])
    name = path.name.replace('.array_record-', '.tfrecord-')
    with open(target / name, 'wb') as file:
      for record in records.__getitems__(range(len(records))):
        # The checksums (zeros here) are not read by grain.
        file.write(struct.pack('<QI', len(record), 0) + record + bytes(4))
  info = json.loads((target / 'dataset_info.json').read_text())
  info['fileFormat'] = 'tfrecord'
  (target / 'dataset_info.json').write_text(json.dumps(info))


def test_the_tfrecord_error_names_a_command_that_works(data_dir, tmp_path):
  version = tmp_path / 'fashion_mnist_mini' / '1.0.0'
  _as_tfrecord(data_dir / 'fashion_mnist_mini' / '1.0.0', version)
  with pytest.raises(data.DataError, match='holds tfrecord') as caught:
    data.open_source(SPEC, data_dir=tmp_path)
  command = str(caught.value).split('with: ')[1].split()
  out = subprocess.run(command, capture_output=True, text=True, check=True)
  assert out.stdout.count('.array_record-') == 2
  source = data.open_source(SPEC, 'test', data_dir=tmp_path)
  images, labels = mini.load('test')
  np.testing.assert_array_equal(source[1999]['image'], images[1999])
  assert source[1999]['label'] == labels[1999] and len(source) == 2000
  assert len(convert_tfrecord(version)) == 2  # again, harmlessly
  with pytest.raises(data.DataError, match='dataset_info.json'):
    convert_tfrecord(tmp_path)


def test_sets_with_other_features(tmp_path):
  tfds = pytest.importorskip('tensorflow_datasets')

  def prepare(name, features, example):
    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self, features=tfds.features.FeaturesDict(features)
      )

    def _split_generators(self, dl_manager):
      return {'train': ((i, example) for i in range(3))}

    builder = type(
      name.title().replace('_', ''),
      (tfds.core.GeneratorBasedBuilder,),
      {
        'VERSION': tfds.core.Version('1.0.0'),
        '_info': _info,
        '_split_generators': _split_generators,
        '_generate_examples': None,
        '__module__': 'test_sets',
      },
      skip_registration=True,
    )
    builder.name = name
    builder(data_dir=tmp_path).download_and_prepare(file_format='array_record')

  from vq_jax.utils import images

  png = images.encode_png(np.full((4, 5, 3), 7, np.uint8))
  prepare(
    'unlabelled',
    {'photo': tfds.features.Image(), 'id': tfds.features.Text()},
    {'photo': png, 'id': 'x'},
  )
  source = data.open_source('tfds:unlabelled', data_dir=tmp_path)
  assert source.num_classes == 1 and source.class_names == ('all',)
  assert source.image_shape is None and not data.fits_in_memory(source)
  assert source[0]['image'].shape == (4, 5, 3) and source[0]['label'] == 0
  prepare('no_image', {'id': tfds.features.Text()}, {'id': 'x'})
  with pytest.raises(data.DataError, match='an image; it has id'):
    data.open_source('tfds:no_image', data_dir=tmp_path)
  prepare(
    'hidden_labels',
    {
      'image': tfds.features.Image(),
      'label': tfds.features.ClassLabel(num_classes=2),
    },
    {'image': png, 'label': -1},
  )
  source = data.open_source('tfds:hidden_labels', data_dir=tmp_path)
  assert source.class_names == ('0', '1')
  with pytest.raises(data.DataError, match=r'\[0, 2\).*the label -1'):
    source[0]
  prepare('broken', {'image': tfds.features.Image()}, {'image': b'no png'})
  source = data.open_source('tfds:broken', data_dir=tmp_path)
  with pytest.raises(data.UnreadableImage, match='train example 1'):
    source[1]
  found = list(source.read([0, 1]))
  assert len(found) == 2
  assert all(isinstance(e, data.UnreadableImage) for e in found)
