"""What a file is, by its first bytes, for the message when it is another."""

import os
import pathlib
import re
from typing import BinaryIO

HEAD = 512  # bytes, enough to tell
_LFS = b'version https://git-lfs.github.com/spec/'
_PACKED = {
  b'\x1f\x8b': 'gzip',
  b'BZh': 'bzip2',
  b'\xfd7zXZ\0': 'xz',
  b'\x28\xb5\x2f\xfd': 'zstd',
  b"7z\xbc\xaf'\x1c": '7z',
  b'Rar!': 'RAR',
}
_FORMATS = {
  b'\x89HDF\r\n\x1a\n': 'an HDF5 file, as Keras and MATLAB write them',
  b'\x93NUMPY': 'an array of NumPy',
  b'GGUF': 'a GGUF file of llama.cpp',
  b'%PDF': 'a PDF document',
  b'\x89PNG': 'a PNG image',
  b'\xff\xd8\xff': 'a JPEG image',
  b'SQLite format 3': 'a SQLite database',
}
_MARKUP = re.compile(rb'\s*<(!doctype html|html|head|body|\?xml|error)', re.I)
# What ONNX writes first: its version, then who made it or a graph.
_ONNX = re.compile(rb'\x08[\x01-\x20][\x12\x3a]', re.DOTALL)


def read_head(file: str | os.PathLike | BinaryIO) -> bytes:
  """Reads the first bytes of a file, as many as tell what it is.

  Args:
    file: its path, or the file at its beginning.

  Raises:
    OSError: if it cannot be read.
  """
  if isinstance(file, str | os.PathLike):
    with pathlib.Path(file).open('rb') as opened:
      return opened.read(HEAD)
  return file.read(HEAD)


def describe_placeholder(head: bytes) -> str | None:
  """Names what nobody means to have, whatever the file should be.

  Args:
    head: its first bytes.

  Returns:
    What it is and what to do, for after 'it is'; None for anything else.
  """
  if not head:
    return 'empty: download or copy it again'
  if head.startswith(_LFS):
    return (
      'a pointer of Git LFS, which stands for the file: run `git lfs pull` in '
      'its repository'
    )
  if _MARKUP.match(head):
    return (
      'a web page or the answer of a server, saved in place of the file: '
      'download the raw file'
    )
  return None


def describe_non_weights(head: bytes) -> str | None:
  """Names what holds no weights, or none that are read here.

  Args:
    head: its first bytes.

  Returns:
    What it is and, where something helps, what to do, for after 'it is'; None
    if it may be a checkpoint of PyTorch, Flax or safetensors.
  """
  found = describe_placeholder(head)
  if found is not None:
    return found
  for magic, name in _PACKED.items():
    if head.startswith(magic):
      return f'packed with {name}: unpack it first'
  if head[257:262] == b'ustar':
    return 'a tar archive: unpack it first'
  for magic, name in _FORMATS.items():
    if head.startswith(magic):
      return name
  if _ONNX.match(head):
    return 'an ONNX model; give the checkpoint that it was exported from'
  text = _first_line(head)
  if text is None:
    return None
  return f'text that begins with {text!r}: give the file that was meant'


def _first_line(head: bytes) -> str | None:
  """Returns the first line of a text; None for other bytes."""
  try:
    text = head.decode('ascii')
  except UnicodeDecodeError:
    return None
  if not all(c.isprintable() or c in '\t\r\n' for c in text):
    return None
  return (text.strip().splitlines() or [''])[0][:40]
