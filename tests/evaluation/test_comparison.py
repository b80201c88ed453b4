"""Two sets of images, compared without a model."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.evaluation import extractors
from vq_jax import data
from vq_jax import evaluation
from vq_jax import metrics
from vq_jax.metrics import frechet

EXTRACTOR = extractors.random_projection()


def images(count, low=0, size=8, channels=3):
  rng = np.random.default_rng(low)
  shape = (count, size, size, channels)
  return rng.integers(low, 256, shape, np.uint8)


def write_folder(folder, pixels):
  folder.mkdir(exist_ok=True)
  for i, image in enumerate(pixels):
    Image.fromarray(image.squeeze()).save(folder / f'{i}.png')
  return folder


def write_npz(path, pixels):
  np.savez(path, pixels)
  return path


def compare(a, b, tmp_path, **options):
  options = {'batch_size': 8, **options}
  return evaluation.compare_image_sets(
    a,
    b,
    tmp_path / 'work',
    evaluation.EvaluationOptions(**options),
    extractor=EXTRACTOR,
  )


def gaussian(pixels):
  return frechet.fit(EXTRACTOR(pixels)['pooled'])


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_folders_files_and_arrays_give_the_same_numbers(tmp_path):
  a, b = images(30), images(24, 70)
  folders = [write_folder(tmp_path / n, x) for n, x in (('a', a), ('b', b))]
  files = [write_npz(tmp_path / f'{n}.npz', x) for n, x in (('a', a), ('b', b))]
  by_folder, by_file = (compare(*x, tmp_path) for x in (folders, files))
  for first, second in zip(by_folder.results, by_file.results, strict=True):
    # KID and splits depend on the order of the images.
    if first.metric not in ('kid', 'is', 'precision', 'recall'):
      tolerance = 0.3 if first.metric in ('density', 'coverage') else 1e-5
      np.testing.assert_allclose(first.value, second.value, tolerance)
  expected = metrics.frechet_distance(gaussian(a), gaussian(b))
  np.testing.assert_allclose(by_file.value('fid'), expected, rtol=1e-5)
  pooled = (EXTRACTOR(x)['pooled'] for x in (b, a[:30]))
  assert by_file.value('kid') == pytest.approx(
    metrics.kid(*list(pooled)[::-1], seed=0).value, rel=1e-4
  )


def test_a_result_has_all_that_it_depends_on(tmp_path):
  a, b = (write_npz(tmp_path / f'{i}.npz', images(30, i)) for i in (0, 50))
  record = compare(a, b, tmp_path, metrics=('fid', 'is'), seed=3)
  record.write(tmp_path / 'record.json')
  fid, score = json.loads((tmp_path / 'record.json').read_text())['results']
  assert fid['metric'] == 'fid' and fid['value'] == record.value('fid') > 0
  assert fid['samples'] == 30 and fid['seed'] == 3
  assert fid['range'] == [0, None] and fid['pixels'] == 'uint8 in [0, 255]'
  assert fid['features'] == {
    'name': 'projection',
    'checksum': '0',
    'resizer': 'none',
  }
  assert (
    fid['reference']['name'] == str(b) and fid['reference']['samples'] == 30
  )
  assert len(fid['reference']['checksum']) == 64
  assert 0 < fid['floor'] < fid['value'] and fid['floor_samples'] == 15
  assert '15 random images' in fid['floor_note'] and fid['version']
  assert score['standard_error'] > 0 and score['reference'] is None
  table = record.table()
  assert all(text in table for text in ('fid', f'{fid["value"]:.5g}', str(b)))


def test_the_checksum_is_that_of_the_pixels(tmp_path):
  pixels = images(20)
  b = write_npz(tmp_path / 'b.npz', images(20, 9))

  def checksum(name, array):
    path = write_npz(tmp_path / f'{name}.npz', array)
    record = compare(b, path, tmp_path, metrics=('fid',))
    return record.results[0].reference['checksum']

  same = checksum('x', pixels), checksum('y', pixels)
  assert same[0] == same[1] != checksum('z', pixels + 1)


def test_statistics_give_the_number_of_their_images(tmp_path):
  a, b = (write_npz(tmp_path / f'{i}.npz', images(30, i)) for i in (0, 50))
  options = evaluation.EvaluationOptions(metrics=('fid', 'sfid'), batch_size=8)
  work, path = tmp_path / 'work', tmp_path / 'statistics.npz'
  first = evaluation.compare_image_sets(
    *(a, b, work, options),
    extractor=EXTRACTOR,
    save=evaluation.Save(statistics=path),
  )
  second = compare(a, path, tmp_path, metrics=('fid', 'sfid'))
  for name in ('fid', 'sfid'):
    assert second.value(name) == pytest.approx(first.value(name), rel=1e-9)
  assert second.results[0].floor is None
  assert 'has no images' in second.results[0].floor_note
  assert second.results[0].reference['samples'] == 30
  with pytest.warns(
    evaluation.UnavailableMetricWarning, match='kid, pr, dc are left'
  ):
    assert 'kid' in compare(a, path, tmp_path).unavailable
  with pytest.raises(ValueError, match='kid cannot .* only statistics'):
    compare(a, path, tmp_path, metrics=('fid', 'kid'))
  other = extractors.random_projection(1)
  with pytest.raises(ValueError, match='of other features: .*checksum 0'):
    evaluation.compare_image_sets(a, path, work, options, extractor=other)
  np.savez(path, mu=np.zeros(2048), sigma=np.eye(2048))
  with pytest.raises(ValueError, match='2048 pooled features, .* has 6'):
    compare(a, path, tmp_path, metrics=('fid',))


def test_a_reference_batch_of_adm_has_statistics_and_images(tmp_path):
  whole, part = images(60, 50), images(60, 50)[:20]
  a = write_npz(tmp_path / 'a.npz', images(30))
  fitted = gaussian(whole)
  moments = {'mu': fitted.mean, 'sigma': fitted.covariance}
  np.savez(tmp_path / 'b.npz', part, **moments)
  record = compare(
    a, tmp_path / 'b.npz', tmp_path, metrics=('fid', 'sfid', 'pr')
  )
  fid = metrics.frechet_distance(gaussian(images(30)), fitted)
  assert record.value('fid') == pytest.approx(fid, rel=1e-5)
  counts = {r.metric: r.reference['samples'] for r in record.results}
  assert counts == {'fid': None, 'sfid': 20, 'precision': 20, 'recall': 20}
  # Statistics of other features do not fit; there are the images.
  np.savez(tmp_path / 'b.npz', part, mu=np.zeros(9), sigma=np.eye(9))
  record = compare(a, tmp_path / 'b.npz', tmp_path, metrics=('fid',))
  fid = metrics.frechet_distance(gaussian(images(30)), gaussian(part))
  assert record.value('fid') == pytest.approx(fid, rel=1e-5)


def test_sets_that_do_not_fit_are_refused(tmp_path):
  a = write_npz(tmp_path / 'a.npz', images(20))
  larger = write_npz(tmp_path / 'larger.npz', images(20, size=16))
  with pytest.raises(ValueError, match=r'\[8, 8, 3\], .* has \[16, 16, 3\]'):
    compare(a, larger, tmp_path)
  grey = write_folder(tmp_path / 'grey', images(3, channels=1))
  with pytest.raises(ValueError, match=r'\[8, 8, 3\], .* has \[8, 8, 1\]'):
    compare(a, grey, tmp_path)
  mixed = write_folder(tmp_path / 'mixed', images(9))
  Image.fromarray(images(1, size=16)[0]).save(mixed / 'other.png')
  for batch_size in (1, 20):
    with pytest.raises(data.DataError, match='size'):
      compare(mixed, mixed, tmp_path, batch_size=batch_size, metrics=('fid',))
  (tmp_path / 'empty').mkdir()
  with pytest.raises(data.DataError, match='must hold images'):
    compare(a, tmp_path / 'empty', tmp_path)
  with pytest.raises(data.DataError, match='no such file or folder'):
    compare(a, tmp_path / 'nowhere', tmp_path)
  (tmp_path / 'file.txt').write_text('text')
  with pytest.raises(data.DataError, match='another file'):
    compare(tmp_path / 'file.txt', a, tmp_path)


@pytest.mark.parametrize('count', [1, 2, 3, 5, 7])
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_few_images_give_numbers_or_are_refused(tmp_path, count):
  a = write_npz(tmp_path / 'a.npz', images(count))
  b = write_npz(tmp_path / 'b.npz', images(20, 5))
  for pair in ((a, b), (b, a), (a, a)):
    record = compare(*pair, tmp_path)
    assert all(np.isfinite(r.value) for r in record.results)
    refused = {'pr': count < 4, 'dc': count < 6, 'fid': count < 2}
    for name, expected in refused.items():
      assert (name in record.unavailable) == expected
      if expected:
        assert 'needs at least' in record.unavailable[name]
  if count == 1:
    with pytest.raises(ValueError, match='fid cannot be computed: it needs at'):
      compare(a, b, tmp_path, metrics=('fid',))


def test_unknown_metrics_are_refused(tmp_path):
  with pytest.raises(
    ValueError, match="unknown metric 'fd'. Did you mean 'fid'"
  ):
    a = write_npz(tmp_path / 'a.npz', images(8))
    compare(a, a, tmp_path, metrics=('fd',))


def test_missing_outputs_and_weights_are_named(tmp_path, monkeypatch):
  a = write_npz(tmp_path / 'a.npz', images(8))
  options = evaluation.EvaluationOptions(metrics=('is',))
  pooled = extractors.random_projection(outputs=('pooled',))
  with pytest.raises(ValueError, match="has no output 'logits', only pooled"):
    evaluation.compare_image_sets(a, a, tmp_path, options, extractor=pooled)
  monkeypatch.setenv('VQ_JAX_WEIGHTS', str(tmp_path))
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setenv('HOME', str(tmp_path))
  with pytest.raises(ValueError, match='efficientnet_lite0'):
    evaluation.compare_image_sets(a, a, tmp_path, options)
