"""Recognition of file formats by first bytes, for error messages."""

import os
import pathlib
import re
from typing import BinaryIO

HEAD = 512  # number of bytes that are read
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
# ONNX writes its version first, then the producer or a graph.
_ONNX = re.compile(rb'\x08[\x01-\x20][\x12\x3a]', re.DOTALL)


def read_head(file: str | os.PathLike | BinaryIO) -> bytes:
  """Reads the first bytes of a file, from which its format is recognized.

  Args:
    file: path of the file, or the open file at its beginning.

  Raises:
    OSError: if it cannot be read.
  """
  if isinstance(file, str | os.PathLike):
    with pathlib.Path(file).open('rb') as opened:
      return opened.read(HEAD)
  return file.read(HEAD)


def describe_placeholder(head: bytes) -> str | None:
  """Describes a file that stands for another one: a failed download.

  Args:
    head: first bytes of the file.

  Returns:
    A text for use after 'it is', with advice, if the file is empty, a pointer
    of Git LFS or a web page; None for other files.
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
  """Describes a file that contains no weights in a supported format.

  Args:
    head: first bytes of the file.

  Returns:
    A text for use after 'it is'; None if the file may be a checkpoint of
    PyTorch, Flax or safetensors.
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
  """Returns the first line of a text; None if the bytes are not text."""
  try:
    text = head.decode('ascii')
  except UnicodeDecodeError:
    return None
  if not all(c.isprintable() or c in '\t\r\n' for c in text):
    return None
  return (text.strip().splitlines() or [''])[0][:40]
