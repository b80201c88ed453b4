"""Archives of TorchScript are read as state dicts, and nothing in them runs."""

import pathlib
import zipfile

import numpy as np
import pytest

from tests.convert import torchscript
from tests.convert import writing
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import pickles

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'torchscript.pt'


def arrays():
  rng = np.random.default_rng(0)
  return {
    'scale': np.asarray(2.0, np.float32),
    'blocks.0.weight': rng.normal(size=(3, 4)).astype(np.float16),
    'blocks.0.bias': rng.normal(size=3).astype(np.float16),
    'blocks.1.weight': rng.normal(size=(2, 3)).astype(np.float32),
  }


def test_tensors_have_their_paths_as_names(tmp_path):
  want = arrays()
  path = torchscript.save(tmp_path / 'a.pt', torchscript.modules(want))
  found = writing.read(path)
  assert found.keys() == want.keys()
  for name, array in want.items():
    np.testing.assert_array_equal(found[name], array)


def test_an_archive_of_pytorch():
  """It has a list, a buffer and a number; see `tests.golden.torchscript`."""
  found = writing.read(GOLDEN)
  assert {name: array.shape for name, array in found.items()} == {
    'mask': (2, 2),
    'layers.0.weight': (3, 2),
    'layers.0.bias': (3,),
    'layers.1.weight': (3,),
    'layers.1.bias': (3,),
  }
  np.testing.assert_array_equal(found['mask'], [[0, 1], [0, 0]])
  weight = np.arange(6).reshape(3, 2) / 8
  np.testing.assert_array_equal(found['layers.0.weight'], weight)
  assert found['layers.0.weight'].dtype == np.float16


def test_an_archive_that_is_cut_off(tmp_path):
  path = tmp_path / 'cut.pt'
  for size in (100, 2000, GOLDEN.stat().st_size - 1):
    path.write_bytes(GOLDEN.read_bytes()[:size])
    with pytest.raises(errors.ConvertError, match='cut off'):
      writing.read(path)


def module_of(state):
  made = writing.name('__torch__.model', 'Part') + b')\x81'
  return writing.Raw(made + state + b'b')


@pytest.mark.parametrize(
  ('tree', 'message'),
  [
    (module_of(b'(l'), 'is list, not a dict of attributes'),
    (module_of(b'}(K\x01K\x02u'), 'not a dict of attributes'),
    (
      torchscript.Module(a=writing.called(writing.name('os', 'system'), 'id')),
      'os.system',
    ),
  ],
  ids=['list', 'numbers', 'program'],
)
def test_modules_that_pytorch_does_not_write(tree, message, tmp_path):
  path = torchscript.save(tmp_path / 'a.pt', tree)
  with pytest.raises(errors.ConvertError, match=message):
    writing.read(path)


def test_a_module_at_two_places_is_refused(tmp_path):
  """Twenty such modules within each other would have a million names."""
  part = writing.name('__torch__.model', 'Part')
  shared = writing.Raw(part + b')\x81q\x01}' + b'b')
  again = writing.Raw(b'h\x01')
  path = torchscript.save(
    tmp_path / 'a.pt', torchscript.Module(a=shared, b=again)
  )
  with pytest.raises(errors.ConvertError, match='b occurs at two places'):
    writing.read(path)


def test_compressed_tensors_are_refused(tmp_path):
  path = tmp_path / 'a.pt'
  tree = torchscript.modules(arrays())
  torchscript.save(path, tree, method=zipfile.ZIP_DEFLATED)
  with pytest.raises(errors.ConvertError, match='compressed records'):
    writing.read(path)


@pytest.mark.parametrize('flag', [0x01, 0x20], ids=['encrypted', 'patched'])
def test_records_with_flags_that_pytorch_never_sets(flag, tmp_path):
  path = torchscript.save(tmp_path / 'a.pt', torchscript.modules(arrays()))
  with zipfile.ZipFile(path) as archive:
    offset = archive.getinfo('clip/data/1').header_offset
  data = bytearray(path.read_bytes())
  central = data.rindex(b'clip/data/1') - 46
  for start in (offset + 6, central + 8):
    data[start] |= flag
  path.write_bytes(data)
  with pytest.raises(errors.ConvertError, match='is damaged'):
    writing.read(path)


def test_a_module_without_tensors(tmp_path):
  path = torchscript.save(tmp_path / 'a.pt', torchscript.Module(n=1))
  with pickles.reading(path) as tree:
    assert tree == {}
