"""Files are written atomically, and checked before they are written."""

import pytest

from vq_jax.utils import paths


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
  path = tmp_path / 'new' / 'a.txt'
  paths.write_text(path, 'old')
  with paths.replacing(path) as temporary:
    temporary.write_text('new')
    assert path.read_text() == 'old'
  assert path.read_text() == 'new'
  assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
  path = tmp_path / 'a.txt'
  paths.write_bytes(path, b'old')
  with pytest.raises(OSError, match='disk full'):
    with paths.replacing(path) as temporary:
      temporary.write_text('half')
      raise OSError('disk full')
  assert path.read_text() == 'old'
  assert list(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_written_are_refused(tmp_path):
  (tmp_path / 'file').touch()
  assert paths.check_file(tmp_path / 'new' / 'a') == tmp_path / 'new' / 'a'
  with pytest.raises(IsADirectoryError, match='give the name of a file'):
    paths.check_file(tmp_path)
  with pytest.raises(NotADirectoryError, match='is a file, and no folder'):
    paths.check_file(tmp_path / 'file' / 'a')
  with pytest.raises(ValueError, match='zero character'):
    paths.check_file('a\0b')
