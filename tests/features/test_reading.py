"""Arrays are read exactly, and no code of a file runs."""

import pickle

import numpy as np
import pytest

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


class Hostile:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return open, (str(self.path), 'w')


def test_nothing_else_can_be_called(tmp_path):
  trace = tmp_path / 'trace'
  path = dump(tmp_path / 'a', {'x': Hostile(trace)})
  with pytest.raises(ValueError, match='io.open.*hostile'):
    reading.numpy_tree(path)
  assert not trace.exists()


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
def test_files_that_stand_in_place_of_weights(content, message, tmp_path):
  (tmp_path / 'a').write_bytes(content)
  with pytest.raises(ValueError, match=message):
    reading.numpy_tree(tmp_path / 'a')
