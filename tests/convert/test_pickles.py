"""PyTorch's files are read exactly, and damaged ones are refused."""

import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest

from tests.convert import writing
from tests.convert.writing import called
from tests.convert.writing import each_format
from tests.convert.writing import name
from tests.convert.writing import read
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import unpickling


@each_format
@pytest.mark.parametrize('dtype', writing.STORAGES, ids=str)
def test_every_dtype_comes_back_to_the_bit(save, dtype, tmp_path):
  rng = np.random.default_rng(0)
  arrays = {
    f'{len(shape)}': np.asarray(100 * rng.normal(size=shape)).astype(dtype)
    for shape in [(), (3,), (2, 0, 4), (2, 3, 4, 5)]
  }
  save(tmp_path / 'a.pt', arrays)
  found = read(tmp_path / 'a.pt')
  assert list(found) == list(arrays)
  for key, array in arrays.items():
    assert found[key].dtype == dtype and found[key].shape == array.shape
    assert found[key].tobytes() == array.tobytes()


@each_format
def test_views_of_a_shared_storage(save, tmp_path):
  numbers = np.arange(24, dtype=np.float32)
  table = numbers.reshape(4, 6)
  views = {
    'all': writing.View(numbers, 0, (4, 6), (6, 1)),
    'transposed': writing.View(numbers, 0, (6, 4), (1, 6)),
    'corner': writing.View(numbers, 14, (2, 2), (6, 1), parameter=True),
    'every_second': writing.View(numbers, 1, (12,), (2,)),
  }
  other = np.arange(3, dtype=np.int64)
  save(tmp_path / 'a.pt', {**views, 'other': other})
  found = read(tmp_path / 'a.pt')
  np.testing.assert_array_equal(found['all'], table)
  np.testing.assert_array_equal(found['transposed'], table.T)
  np.testing.assert_array_equal(found['corner'], table[2:, 2:4])
  np.testing.assert_array_equal(found['every_second'], numbers[1::2])
  np.testing.assert_array_equal(found['other'], other)
  assert not found['all'].shape == found['transposed'].shape


def test_a_shared_storage_is_read_once(tmp_path, monkeypatch):
  numbers = np.arange(6, dtype=np.float32)
  views = {str(i): writing.View(numbers, i, (1,), (1,)) for i in range(6)}
  writing.save(tmp_path / 'a.pt', views)
  reads = []
  read_record = zipfile.ZipFile.read

  def counting(archive, record, *args):
    reads.append(record)
    return read_record(archive, record, *args)

  monkeypatch.setattr(zipfile.ZipFile, 'read', counting)
  assert [float(v[0]) for v in read(tmp_path / 'a.pt').values()] == [*range(6)]
  assert reads.count('archive/data/0') == 1


@each_format
def test_objects_of_unknown_classes_do_not_matter(save, tmp_path):
  """As in checkpoints of PyTorch Lightning and of argparse programs."""
  result = writing.Raw(name('argparse', 'Namespace') + b')\x81}' + (
    b'(' + writing.plain('lr') + writing.plain(0.1) + b'ub'
  ))  # fmt: skip
  pairs = b'(' + writing.plain('a') + writing.plain(1) + b'u'
  tree = {
    'args': result,
    'path': called(name('pathlib', 'PosixPath'), 'a', 'b'),
    'defaults': writing.Raw(
      called(name('collections', 'defaultdict'), name('builtins', 'dict'))
      + pairs
    ),
    'list': writing.Raw(
      called(name('some.where', 'List')) + b'(' + writing.plain(1) + b'e'
    ),
    'set': writing.Raw(
      called(name('some.where', 'Set')) + b'(' + writing.plain(1) + b'\x90'
    ),
    'size': called(name('torch', 'Size'), (2, 3)),
    'dtype': name('torch', 'float32'),
    'weight': np.ones(3, np.float32),
    'number': 3,
  }
  save(tmp_path / 'a.ckpt', tree)
  found = read(tmp_path / 'a.ckpt')
  assert list(found) == list(tree)
  np.testing.assert_array_equal(found['weight'], np.ones(3))
  assert found['size'] == (2, 3) and found['number'] == 3
  assert isinstance(found['args'], unpickling.Inert)
  assert found['args'].path == 'argparse.Namespace'
  assert not vars(found['args'])
  assert issubclass(found['dtype'], unpickling.Inert)


def test_one_storage_has_one_dtype_and_size(tmp_path):
  halves = np.ones(4, np.float16), np.ones(4, np.float32)
  for other in (halves[1], np.ones(5, np.float16)):
    writer = writing.Writer()
    first = writer.dumps({'a': halves[0]})
    second = writing.Writer().dumps({'b': other})
    both = first[:-1] + b'(' + writing.plain('c') + second[2:-1] + b'u.'
    writing.save(tmp_path / 'a.pt', {}, **{'data.pkl': both})
    with pytest.raises(errors.ConvertError, match='two types or sizes'):
      read(tmp_path / 'a.pt')


@each_format
def test_a_file_that_is_cut_anywhere(save, tmp_path):
  path = tmp_path / 'a.pt'
  save(path, {'x': np.ones((5, 7), np.float32), 'y': np.ones(3, np.float16)})
  whole = path.read_bytes()
  for size in [*range(0, len(whole), 23), len(whole) - 1]:
    path.write_bytes(whole[:size])
    with pytest.raises(errors.ConvertError, match='a.pt cannot be read') as e:
      read(path)
    assert '\n' not in str(e.value)


def test_a_damaged_byte_among_the_weights(tmp_path):
  path = tmp_path / 'a.pt'
  writing.save(path, {'x': np.full(100, 7, np.uint8)})
  damaged = path.read_bytes().replace(b'\7' * 50, b'\7' * 49 + b'\6')
  path.write_bytes(damaged)
  with pytest.raises(errors.ConvertError, match=r'a.pt is damaged: Bad CRC'):
    read(path)


@pytest.mark.parametrize(
  ('records', 'message'),
  [
    ({'data/0': b'1234'}, 'should have 12 bytes and has 4'),
    ({'byteorder': b'big'}, 'big-endian'),
    ({'sub/data.pkl': b''}, 'without one data.pkl'),
  ],
)
def test_zip_files_that_are_no_checkpoints(records, message, tmp_path):
  writing.save(tmp_path / 'a.pt', {'x': np.ones(3, np.float32)}, **records)
  with pytest.raises(errors.ConvertError, match=message):
    read(tmp_path / 'a.pt')


def test_compressed_records_are_refused(tmp_path):
  """They could grow to any size."""
  with zipfile.ZipFile(tmp_path / 'a.pt', 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('a/data.pkl', writing.Writer().dumps({'x': 1}) * 99)
  with pytest.raises(errors.ConvertError, match='compressed records'):
    read(tmp_path / 'a.pt')


def test_legacy_files_that_are_no_checkpoints(tmp_path):
  path = tmp_path / 'a.pt'
  tree = {'x': np.ones(3, np.float32)}
  writing.save_legacy(path, tree, little=False)
  with pytest.raises(errors.ConvertError, match='big-endian'):
    read(path)
  writing.save_legacy(path, tree)
  whole = path.read_bytes()
  keys = pickle.dumps(['0'], 2)
  path.write_bytes(whole.replace(keys, pickle.dumps([], 2)))
  with pytest.raises(
    errors.ConvertError, match=r"storages \['0'\] are missing"
  ):
    read(path)
  path.write_bytes(whole[:-12] + b'\0' * 3)
  with pytest.raises(errors.ConvertError, match='storage 0 is cut off'):
    read(path)


def test_views_of_storages_in_legacy_files_are_refused(tmp_path):
  path = tmp_path / 'a.pt'
  writing.save_legacy(path, {'x': np.ones(3, np.float32)})
  size, view = writing.plain(3), writing.plain(('1', 0, 3))
  data = path.read_bytes()
  assert size + b'N' in data
  path.write_bytes(data.replace(size + b'N', size + view))
  with pytest.raises(errors.ConvertError, match='views of storages'):
    read(path)


@pytest.mark.parametrize(
  'data',
  [b'', b'hello', b'\x89PNG\r\n', pickle.dumps({'a': 1}, 2), b'PK\x03\x04zip'],
)
def test_other_files(data, tmp_path):
  (tmp_path / 'a.pt').write_bytes(data)
  with pytest.raises(errors.ConvertError, match='a.pt cannot be read as a Py'):
    read(tmp_path / 'a.pt')
  with pytest.raises(OSError, match='b.pt'):
    read(tmp_path / 'b.pt')


def test_bfloat16_values(tmp_path):
  values = np.asarray([1, -2.5, 3e38], ml_dtypes.bfloat16)
  writing.save(tmp_path / 'a.pt', {'x': values})
  found = read(tmp_path / 'a.pt')['x'].astype(np.float32)
  np.testing.assert_array_equal(found, values.astype(np.float32))
