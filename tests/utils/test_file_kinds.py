"""Files are named by their first bytes."""

import gzip
import io
import lzma
import pickle
import re
import tarfile

import numpy as np
import pytest
from PIL import Image

from vq_jax.utils import file_kinds

LFS = (
  b'version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 12345\n'
)


def saved(write, *arguments, **options):
  buffer = io.BytesIO()
  write(buffer, *arguments, **options)
  return buffer.getvalue()


def tar():
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w') as archive:
    archive.addfile(tarfile.TarInfo('a.ckpt'))
  return buffer.getvalue()


EVERYWHERE = {
  'empty': b'',
  'pointer of Git LFS.*`git lfs pull`': LFS,
  'web page': b'\n<!DOCTYPE html>\n<html>',
  'answer of a server': b'<?xml version="1.0"?><Error>AccessDenied',
}
AMONG_WEIGHTS = {
  'gzip: unpack': gzip.compress(b'a'),
  'xz: unpack': lzma.compress(b'a'),
  'tar archive': tar(),
  'HDF5': b'\x89HDF\r\n\x1a\n\0\0',
  'NumPy': saved(np.save, np.ones(2)),
  'PNG image': saved(Image.new('L', (2, 2)).save, format='PNG'),
  'ONNX model': b'\x08\x07\x12\x07pytorch\x1a\x05',
  "text that begins with 'Entry not found'": b'Entry not found\n',
  'text that begins with \'{"error"': b'{"error": "no"}',
}
WEIGHTS = {
  'torch.save, zip': b'PK\x03\x04\0\0',
  'torch.save, older': pickle.dumps({'a': 1}, 2),
  'Flax': b'\x81\xa6params\x80',
  'safetensors': b'\x40\0\0\0\0\0\0\0{"a":{"dtype"',
}


@pytest.mark.parametrize('what', EVERYWHERE)
def test_files_that_hold_no_content_are_described(what):
  for function in (
    file_kinds.describe_placeholder,
    file_kinds.describe_non_weights,
  ):
    found = function(EVERYWHERE[what][:512])
    assert re.search(what, found) and '\n' not in found


@pytest.mark.parametrize('what', AMONG_WEIGHTS)
def test_files_without_weights_are_described(what):
  head = AMONG_WEIGHTS[what][:512]
  assert file_kinds.describe_placeholder(head) is None
  assert what in file_kinds.describe_non_weights(head)


@pytest.mark.parametrize('what', WEIGHTS)
def test_weights_are_not_refused(what):
  assert file_kinds.describe_non_weights(WEIGHTS[what]) is None
