"""Files of ADM's evaluation suite are read and written."""

import numpy as np
import pytest

from vq_jax import data
from vq_jax.evaluation import adm_files
from vq_jax.evaluation import feature_sets
from vq_jax.metrics import frechet

EXTRACTOR = {'name': 'inception', 'checksum': 'abc', 'resizer': 'tensorflow'}


@pytest.fixture
def gaussian():
  return frechet.fit(np.random.default_rng(0).normal(size=(30, 4)))


def samples(shape=(10, 4, 4, 3)):
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def read(path, batch_size=3, rows=None):
  images = adm_files.SampleBatch(path)
  rows = range(len(images)) if rows is None else rows
  batches = list(images.batches(rows, batch_size))
  return {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}


def test_statistics_of_adm_are_read(tmp_path, gaussian):
  np.savez(
    tmp_path / 'adm.npz',
    mu=gaussian.mean.astype(np.float32),
    sigma=gaussian.covariance,
    mu_s=gaussian.mean[:2],
    sigma_s=gaussian.covariance[:2, :2],
    arr_0=samples(),
  )
  assert adm_files.is_statistics(tmp_path / 'adm.npz')
  found = adm_files.read_statistics(tmp_path / 'adm.npz')
  assert found.count is None and found.extractor is None
  np.testing.assert_allclose(
    found.gaussian('pooled').covariance, gaussian.covariance
  )
  assert found.gaussian('spatial').mean.shape == (2,)
  with pytest.raises(ValueError, match='only statistics'):
    found.rows('pooled')


def test_written_statistics_are_read_again(tmp_path, gaussian):
  path = tmp_path / 'statistics.npz'
  written = feature_sets.Statistics(
    {'pooled': gaussian}, name='x', checksum='y', count=30
  )
  adm_files.write_statistics(path, written, ['pooled'], EXTRACTOR, (8, 9, 3))
  found = adm_files.read_statistics(path)
  assert found.count == 30 and found.extractor == EXTRACTOR
  assert found.image_shape == (8, 9, 3)
  own, read = gaussian, found.gaussian('pooled')
  assert frechet.frechet_distance(own, read) < 1e-12
  with np.load(path) as file:  # as ADM's suite reads it
    assert file['mu'].shape == (4,) and file['sigma'].shape == (4, 4)


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_samples_are_read_part_by_part(tmp_path, save):
  images, labels = samples(), np.arange(10)
  save(tmp_path / 'samples.npz', images, labels)
  found = read(tmp_path / 'samples.npz')
  np.testing.assert_array_equal(found['image'], images)
  np.testing.assert_array_equal(found['label'], labels)
  part = read(tmp_path / 'samples.npz', rows=range(4, 9))
  np.testing.assert_array_equal(part['image'], images[4:9])


def test_written_samples_are_those_of_numpy(tmp_path):
  images, labels = samples((600, 2, 2, 1)), np.arange(600)
  adm_files.write_samples(tmp_path / 'samples.npz', images, labels)
  with np.load(tmp_path / 'samples.npz') as file:
    np.testing.assert_array_equal(file['arr_0'], images)
    np.testing.assert_array_equal(file['arr_1'], labels)
  np.testing.assert_array_equal(read(tmp_path / 'samples.npz')['image'], images)


@pytest.mark.parametrize(
  ('arrays', 'message'),
  [
    ({'arr_0': samples() / 255}, 'must be uint8 .* got float64'),
    ({'arr_0': samples((3, 4, 4))}, r'got uint8 \[3, 4, 4\]'),
    ({'arr_0': samples((3, 4, 4, 2))}, '1 or 3 channels'),
    ({'arr_0': samples((0, 4, 4, 3))}, r'got uint8 \[0, 4, 4, 3\]'),
    ({'latents': samples()}, 'images `arr_0`.*it has latents'),
    ({'arr_0': np.asfortranarray(samples())}, 'C order'),
    ({'arr_0': np.array([None])}, 'array of numbers'),
  ],
)
def test_what_holds_no_images_is_refused(tmp_path, arrays, message):
  np.savez(tmp_path / 'bad.npz', **arrays)
  with pytest.raises(data.DataError, match=message):
    adm_files.SampleBatch(tmp_path / 'bad.npz')


def test_damaged_files_are_refused(tmp_path):
  path = tmp_path / 'x.npz'
  path.write_text('no archive')
  with pytest.raises(data.DataError, match='cannot be read as an .npz file'):
    adm_files.is_statistics(path)
  np.savez(path, mu=np.zeros(3), sigma=np.zeros((2, 2)))
  with pytest.raises(data.DataError, match='no valid statistics'):
    adm_files.read_statistics(path)
  np.savez_compressed(path, samples((200, 8, 8, 3)))
  content = bytearray(path.read_bytes())
  content[5000:5100] = bytes(100)
  path.write_bytes(bytes(content))
  with pytest.raises(data.DataError, match='damaged'):
    read(path, batch_size=200)
