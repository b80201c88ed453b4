"""Arrays are read exactly, and no code of a file runs."""

import pickle

import numpy as np
import pytest

from tests.convert import writing
from vq_jax.features import reading


def dump(path, tree):
  """Writes as numpy 1 did."""
  content = pickle.dumps(tree, protocol=3)
  old = content.replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
  path.write_bytes(old)
  return path


def arrays():
  rng = np.random.default_rng(0)
  return {
    'kernel': rng.normal(size=(3, 2, 4)).astype(np.float32),
    'bias': rng.normal(size=5).astype(np.float32),
    'count': np.asarray(7),
  }


def assert_same(got, want):
  assert list(got) == list(want)
  for name, array in want.items():
    assert got[name].dtype == array.dtype
    np.testing.assert_array_equal(got[name], array)


def test_nested_dicts_of_arrays(tmp_path):
  want = arrays()
  got = reading.numpy_tree(dump(tmp_path / 'a', {'x': want, 'y': {}}))
  assert got.keys() == {'x', 'y'}
  assert_same(got['x'], want)


def test_a_state_of_pytorch(tmp_path):
  want = arrays()
  writing.save_legacy(tmp_path / 'a', want)
  assert_same(reading.torch_state(tmp_path / 'a'), want)


def test_views_of_a_storage(tmp_path):
  numbers = np.arange(24, dtype=np.float32)
  views = {
    'moved': writing.View(numbers, 0, (2, 3, 4), (1, 2, 6)),
    'part': writing.View(numbers, 14, (2, 2), (6, 1)),
  }
  writing.save_legacy(tmp_path / 'a', views)
  found = reading.torch_state(tmp_path / 'a')
  moved = numbers.reshape(4, 3, 2).transpose(2, 1, 0)
  np.testing.assert_array_equal(found['moved'], moved)
  np.testing.assert_array_equal(found['part'], [[14, 15], [20, 21]])


def test_a_view_beyond_its_storage_is_refused(tmp_path):
  numbers = np.arange(6, dtype=np.float32)
  view = writing.View(numbers, 1, (2, 3), (3, 1))
  writing.save_legacy(tmp_path / 'a', {'x': view})
  with pytest.raises(ValueError, match='(?i)strides|buffer'):
    reading.torch_state(tmp_path / 'a')


class Hostile:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return open, (str(self.path), 'w')


def test_nothing_else_can_be_called(tmp_path):
  trace = tmp_path / 'trace'
  for read in (reading.numpy_tree, reading.torch_state):
    path = dump(tmp_path / 'a', {'x': Hostile(trace)})
    with pytest.raises(ValueError, match='io.open.*hostile'):
      read(path)
  hostile = writing.called(writing.name('io', 'open'), str(trace), 'w')
  writing.save_legacy(tmp_path / 'b', {'x': hostile})
  with pytest.raises(ValueError, match='io.open.*hostile'):
    reading.torch_state(tmp_path / 'b')
  assert not trace.exists()


def test_incomplete_or_foreign_checkpoints_are_refused(tmp_path):
  with (tmp_path / 'a').open('wb') as file:
    for _ in range(3):
      pickle.dump(1, file)
  with pytest.raises(ValueError, match='is not a state dict'):
    reading.torch_state(tmp_path / 'a')
  writing.save_legacy(tmp_path / 'b', arrays())
  content = (tmp_path / 'b').read_bytes()
  (tmp_path / 'b').write_bytes(content[:-1])
  with pytest.raises(ValueError, match='ends before'):
    reading.torch_state(tmp_path / 'b')


@pytest.mark.parametrize('read', [reading.numpy_tree, reading.torch_state])
@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', 'it is empty'),
    (b'version https://git-lfs.github.com/spec/v1\n', '`git lfs pull`'),
    (b'<html>', 'a web page'),
    (pickle.dumps({'a': 1}, 2)[:-3], 'a cannot be read as weights: .*again'),
    (b'\x01\x02', 'a cannot be read as weights: invalid load key.*'),
  ],
)
def test_files_that_stand_in_place_of_weights(read, content, message, tmp_path):
  (tmp_path / 'a').write_bytes(content)
  with pytest.raises(ValueError, match=message):
    read(tmp_path / 'a')
