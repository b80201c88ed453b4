"""safetensors files are read exactly, and wrong headers are refused."""

import json

import ml_dtypes
import numpy as np
import pytest

from tests.convert import writing
from tests.convert.released import GOLDEN
from tests.convert.released import outputs
from tests.convert.writing import read
from vq_jax import convert
from vq_jax.utils import safetensors
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import pickles
from vq_jax.utils.conversion import states

F32 = {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}


def save(path, header, data=b''):
  """Writes a file; the header is text or a tree."""
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  path.write_bytes(len(text).to_bytes(8, 'little') + text + data)
  return path


def save_arrays(path, arrays):
  header, data = {'__metadata__': {'format': 'pt'}}, b''
  names = {dtype: name for name, dtype in safetensors.DTYPES.items()}
  for name, array in arrays.items():
    end = len(data) + array.nbytes
    header[name] = {
      'dtype': names[array.dtype],
      'shape': list(array.shape),
      'data_offsets': [len(data), end],
    }
    data += array.tobytes()
  text = json.dumps(header)
  return save(path, text.encode() + b' ' * (-len(text) % 8), data)


@pytest.mark.parametrize('dtype', writing.STORAGES, ids=str)
def test_every_dtype_comes_back_to_the_bit(dtype, tmp_path):
  rng = np.random.default_rng(0)
  arrays = {
    f'{len(shape)}': np.asarray(100 * rng.normal(size=shape)).astype(dtype)
    for shape in [(), (3,), (2, 0, 4), (2, 3, 4, 5)]
  }
  path = save_arrays(tmp_path / 'a.bin', arrays)
  for found in (read(path), states.load_arrays(path)):
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
      assert found[key].dtype == dtype and found[key].shape == array.shape
      assert found[key].tobytes() == array.tobytes()


def test_weights_within_a_larger_checkpoint_give_the_same_model(tmp_path):
  path = GOLDEN / 'taming_vqgan_toy.ckpt'
  with pickles.reading(path) as tree:
    weights = {n: np.array(x.numpy()) for n, x in tree['state_dict'].items()}
  save_arrays(tmp_path / 'model.safetensors', weights)
  golden = np.load(path.with_suffix('.npz'))
  model = convert.load('taming-vqgan', tmp_path / 'model.safetensors')
  found = outputs(model, golden['image'] / 2 + 0.5)
  np.testing.assert_array_equal(found['indices'], golden['indices'])


@pytest.mark.parametrize(
  ('header', 'size', 'message'),
  [
    (b'{"a":', 0, 'header cannot be read'),
    (b'{"a": 1, "a": 2}', 0, 'two arrays have one name'),
    (b'{"' + b'[' * 100_000, 0, 'header cannot be read'),
    (b'{"a":' + b'[' * 100_000, 0, 'header cannot be read'),
    (b'{"\xff"}', 0, 'header cannot be read'),
    ({'a': 1}, 0, 'a must have dtype, shape and data_offsets'),
    ({'a': {**F32, 'more': 1}}, 8, 'must have dtype, shape'),
    ({'a': {**F32, 'dtype': 'F8_E4M3'}}, 8, "dtype 'F8_E4M3', not one of F64"),
    ({'a': {**F32, 'dtype': [1]}}, 8, 'not one of F64'),
    ({'a': {**F32, 'shape': [-2]}}, 8, r'a has the shape \[-2\]'),
    ({'a': {**F32, 'shape': [True]}}, 8, 'a has the shape'),
    ({'a': {**F32, 'shape': 2}}, 8, 'a has the shape 2'),
    ({'a': {**F32, 'shape': [2.0]}}, 8, 'a has the shape'),
    ({'a': {**F32, 'shape': [2**60, 0]}}, 8, 'a has the shape'),
    ({'a': {**F32, 'shape': [2**40, 2**40]}}, 8, 'has 4835703278458516698824'),
    ({'a': {**F32, 'data_offsets': [0, 4]}}, 8, r'shape \(2,\) has 8 bytes'),
    ({'a': {**F32, 'data_offsets': [8, 0]}}, 8, 'data_offsets are'),
    ({'a': {**F32, 'data_offsets': [0]}}, 8, 'data_offsets are'),
    ({'a': {**F32, 'data_offsets': [-8, 0]}}, 8, 'has the data_offsets'),
    ({'a': F32}, 7, 'is cut off: .* tells of .* download'),
    ({'a': F32}, 9, 'longer than it says'),
    ({'a': F32, 'b': F32}, 8, 'a and b overlap'),
    (
      {'a': F32, 'b': {**F32, 'data_offsets': [4, 12]}}, 12,
      'a and b overlap',
    ),
    (
      {'a': F32, 'b': {**F32, 'data_offsets': [12, 20]}}, 20,
      'a and b have a gap',
    ),
    ({'a': {**F32, 'data_offsets': [4, 12]}}, 12, 'header and a have a gap'),
  ],
)  # fmt: skip
def test_headers_that_cannot_be(header, size, message, tmp_path):
  path = save(tmp_path / 'a.safetensors', header, bytes(size))
  with pytest.raises(errors.ConvertError, match=message) as error:
    read(path)
  said = str(error.value)
  assert said.startswith(f'{path} cannot be read') and '\n' not in said
  with pytest.raises(ValueError, match=message):
    states.load_arrays(path)


def test_an_empty_array_of_an_impossible_shape(tmp_path):
  shape = [0, 2**47, 2**47]
  entry = {'dtype': 'F32', 'shape': shape, 'data_offsets': [0, 0]}
  path = save(tmp_path / 'a.safetensors', {'a': entry})
  with pytest.raises(errors.ConvertError, match='no array has the shape'):
    read(path)


def test_a_file_that_is_cut_anywhere(tmp_path):
  path = save_arrays(
    tmp_path / 'a.safetensors',
    {
      'x': np.ones((5, 7), np.float32),
      'y': np.ones(3, ml_dtypes.bfloat16),
    },
  )
  whole = path.read_bytes()
  for size in range(len(whole)):
    path.write_bytes(whole[:size])
    with pytest.raises(errors.ConvertError, match='cannot be read') as error:
      read(path)
    assert '\n' not in str(error.value)
