"""Files that try to run code, or to read memory outside of the file."""

import os
import pickle
import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest

from tests.convert import writing
from tests.convert.writing import called
from tests.convert.writing import each_format
from tests.convert.writing import name
from tests.convert.writing import read
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import unpickling


class Evil:
  """A pickled object that calls a function when it is loaded."""

  def __init__(self, function, *args):
    self.made = (function, args)

  def __reduce__(self):
    return self.made


def hostile(path):
  """Pickles that run code when they are loaded; each would create `path`."""
  command = f'touch {path}'
  code = f'open({str(path)!r}, "w")'
  system = name('os', 'system')
  getter = called(
    name('builtins', 'getattr'),
    called(name('builtins', 'getattr'), name('os', 'path'), 'os'),
    'system',
  )
  chain = called(
    name('builtins', 'getattr'),
    called(name('builtins', '__import__'), 'os'),
    'system',
  )
  known = name('torch._utils', '_rebuild_tensor_v2')
  slots = plain_state = writing.plain({'__defaults__': (1,)})
  return {
    'system': called(system, command),
    'posix': called(name('posix', 'system'), command),
    'popen': called(name('subprocess', 'check_call'), ['touch', str(path)]),
    'eval': called(name('builtins', 'eval'), code),
    'exec': called(name('__builtin__', 'exec'), code),
    'getattr': called(getter, command),
    'import': called(chain, command),
    'partial': called(called(name('functools', 'partial'), system), command),
    'map': called(
      name('builtins', 'list'),
      called(name('builtins', 'map'), system, [command]),
    ),
    'dotted': called(
      writing.Raw(writing.plain('os') + writing.plain('system') + b'\x93'),
      command,
    ),
    'inst': writing.Raw(b'(' + writing.plain(command) + b'ios\nsystem\n'),
    'obj': writing.Raw(b'(' + system + writing.plain(command) + b'o'),
    'newobj': writing.Raw(
      system + b'(' + writing.plain(command) + b't' + b'\x81'
    ),
    'nested': called(
      name('collections', 'OrderedDict'), called(system, command)
    ),
    'setstate': writing.Raw(
      called(name('collections', 'OrderedDict'))
      + b'}('
      + writing.plain('__setstate__')
      + system
      + b'ub'
      + writing.plain(command)
      + b'b'
    ),
    'of a function of ours': writing.Raw(
      known + plain_state + slots + b'\x86b'
    ),
    'of a class': writing.Raw(system + writing.plain({'path': 'x'}) + b'b'),
    'only an import': name('this', 's'),
    'pickle': Evil(os.system, command),
  }


@each_format
@pytest.mark.parametrize('way', hostile(''))
def test_pickles_execute_nothing(save, way, tmp_path):
  canary = tmp_path / 'canary'
  value = hostile(canary)[way]
  if isinstance(value, Evil):
    value = writing.Raw(pickle.dumps(value, 2)[2:-1])
  save(tmp_path / 'a.pt', {'x': value, 'weight': np.ones(2, np.float32)})
  try:
    found = read(tmp_path / 'a.pt')
  except errors.ConvertError as error:
    message = str(error)
    assert 'a.pt cannot be read' in message and '\n' not in message
  else:
    np.testing.assert_array_equal(found['weight'], np.ones(2))
  assert not canary.exists()
  assert unpickling._tensor.__defaults__ is None
  assert 'this' not in sys.modules


@each_format
@pytest.mark.parametrize(
  'way',
  sorted(set(hostile('')) - {'only an import', 'of a function of ours'}),
)
def test_a_file_that_names_what_runs_programs_is_refused(save, way, tmp_path):
  value = hostile(tmp_path / 'canary')[way]
  if isinstance(value, Evil):
    value = writing.Raw(pickle.dumps(value, 2)[2:-1])
  save(tmp_path / 'a.pt', {'x': value, 'weight': np.ones(2, np.float32)})
  with pytest.raises(errors.ConvertError, match='may be hostile, and nothing'):
    read(tmp_path / 'a.pt')


def tensor(storage, offset=0, shape=(2,), strides=(1,), **_):
  return writing.View(np.ones(storage, np.float32), offset, shape, strides)


@each_format
@pytest.mark.parametrize(
  ('view', 'message'),
  [
    (tensor(3, shape=(4,)), 'exceeds its storage of 3'),
    (tensor(3, offset=2), 'exceeds its storage of 3'),
    (tensor(3, strides=(3,)), 'exceeds its storage of 3'),
    (tensor(3, shape=(9**9, 9**9), strides=(0, 0)), 'exceeds its storage'),
    (tensor(3, shape=(2, 2)), r'shape \(2, 2\) has strides \(1,\)'),
    (tensor(3, offset=-1), 'no sizes'),
    (tensor(3, shape=(-1,)), 'no sizes'),
    (tensor(3, strides=(-1,)), 'no sizes'),
    (tensor(3, shape=('a',)), 'no sizes'),
    (tensor(3, shape=(True,)), 'no sizes'),
    (
      called(name('torch._utils', '_rebuild_tensor_v2'), 1, 0, (1,), (1,)),
      'a tensor has no storage',
    ),
    (writing.Raw(writing.plain('x') + b'Q'), "unknown reference 'x'"),
    (
      writing.Raw(
        writing.plain(('storage', 'FloatStorage', '0', 'cpu', 1)) + b'Q'
      ),
      'unknown storage FloatStorage',
    ),
    (
      writing.Raw(
        b'(' + writing.plain('storage') + name('torch', 'QInt8Storage')
        + writing.plain('0') + writing.plain('cpu') + writing.plain(1) + b'tQ'
      ),
      'unknown storage QInt8Storage',
    ),
  ],
)  # fmt: skip
def test_tensors_that_cannot_be(save, view, message, tmp_path):
  save(tmp_path / 'a.pt', {'x': view})
  with pytest.raises(errors.ConvertError, match=message) as error:
    read(tmp_path / 'a.pt')
  assert str(tmp_path / 'a.pt') in str(error.value)


def test_a_zip_record_that_holds_less_than_it_says(tmp_path):
  """The checksum of the short record is right; bytes after it are not read."""
  path = tmp_path / 'a.pt'
  numbers = np.arange(64, dtype=np.uint8)
  writing.save(path, {'x': numbers})
  with zipfile.ZipFile(path) as archive:
    info = archive.getinfo('archive/data/0')
  data, name_ = bytearray(path.read_bytes()), b'archive/data/0'
  for offset in (info.header_offset + 14, data.rindex(name_) - 46 + 16):
    sizes = struct.pack('<III', zlib.crc32(numbers[:8].tobytes()), 8, 64)
    data[offset : offset + 12] = sizes
  path.write_bytes(data)
  with pytest.raises(errors.ConvertError, match='64 elements of 1 bytes; 8 '):
    read(path)
