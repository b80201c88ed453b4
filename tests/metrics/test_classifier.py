"""Laws of the classifier whose features score images."""

import jax
import numpy as np
import pytest

from vq_jax import metrics
from vq_jax.metrics import classifier
from vq_jax.metrics import frechet

SETTINGS = {'epochs': 4, 'batch_size': 20, 'learning_rate': 1e-2}


def striped(n, size=8, channels=1, seed=0):
  """Images of three classes: stripes across, stripes down, a chessboard."""
  rng = np.random.default_rng(seed)
  i, j = np.indices((size, size))
  masks = np.stack([i % 2, j % 2, (i + j) % 2])
  labels = np.arange(n) % 3
  clean = np.repeat(masks[labels][..., None], channels, axis=-1)
  noisy = 60 + 120 * clean + rng.normal(scale=20, size=clean.shape)
  return np.clip(noisy, 0, 255).astype(np.uint8), labels


@pytest.fixture(scope='module')
def fitted():
  return classifier.fit(*striped(120), 3, **SETTINGS)


def test_it_learns(fitted):
  images, labels = striped(60, seed=1)
  logits, features = fitted(images)
  assert metrics.class_agreement(logits, labels) > 0.95
  assert logits.shape == (60, 3)
  assert features.shape == (60, 64)
  assert features.min() == 0


def test_the_frechet_distance_is_larger_for_other_images(fitted):
  train, same, other = (
    frechet.fit(fitted(images)[1])
    for images in (striped(120)[0], striped(60, seed=1)[0], striped(60)[0] // 2)
  )
  near = metrics.frechet_distance(train, same)
  assert near < 0.1 * metrics.frechet_distance(train, other)


def test_same_images_same_weights(fitted):
  again = classifier.fit(*striped(120), 3, **SETTINGS)
  jax.tree.map(np.testing.assert_array_equal, again.params, fitted.params)


def test_neither_batching_nor_the_type_of_the_images_matters(fitted):
  images, _ = striped(25, seed=2)
  logits, features = fitted(images)
  for given in (images, images.astype(np.float32) / 255):
    parts = fitted(given, batch_size=7)
    np.testing.assert_allclose(parts[0], logits, atol=1e-4)
    np.testing.assert_allclose(parts[1], features, atol=1e-4)


def test_generated_floats_are_clipped(fitted):
  images = striped(6)[0] / np.float32(255)
  wild = np.where(images > 0.5, images + 9, images - 9)
  np.testing.assert_allclose(
    fitted(wild)[0], fitted(np.clip(wild, 0, 1))[0], atol=1e-5
  )


@pytest.mark.parametrize(('size', 'channels'), [(9, 3), (40, 1)])
def test_any_size_and_any_channels(size, channels):
  images, labels = striped(30, size, channels)
  score = classifier.fit(images, labels, 3, epochs=1, batch_size=10)
  assert score(images[:4])[1].shape == (4, 64)


def test_progress_is_told():
  seen = []
  classifier.fit(
    *striped(12), 3, epochs=2, progress=lambda *done: seen.append(done)
  )
  assert seen == [(1, 2), (2, 2)]


class TestCache:
  quick = {'epochs': 1, 'batch_size': 10}

  def test_a_second_call_reads_the_file(self, tmp_path, monkeypatch):
    args = (*striped(12), 3)
    first = classifier.load_or_fit(*args, cache_dir=tmp_path, **self.quick)
    monkeypatch.setattr(classifier, 'fit', None)
    second = classifier.load_or_fit(*args, cache_dir=tmp_path, **self.quick)
    assert len(list(tmp_path.iterdir())) == 1
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)

  def test_other_images_labels_or_settings_make_another_file(
    self, tmp_path, fitted, monkeypatch
  ):
    monkeypatch.setattr(classifier, 'fit', lambda *_, **__: fitted)
    images, labels = striped(12)
    other = images.copy()
    other[0, 0, 0] ^= 1
    for args, settings in [
      ((images, labels, 3), self.quick),
      ((other, labels, 3), self.quick),
      ((images, labels[::-1], 3), self.quick),
      ((images, labels, 4), self.quick),
      ((images, labels, 3), {**self.quick, 'seed': 1}),
    ]:
      classifier.load_or_fit(*args, cache_dir=tmp_path, **settings)
    assert len(list(tmp_path.iterdir())) == 5

  @pytest.mark.parametrize('damage', ['cut', 'empty', 'other'])
  def test_a_damaged_file_is_fitted_again(self, tmp_path, damage):
    args = (*striped(12), 3)
    good = classifier.load_or_fit(*args, cache_dir=tmp_path, **self.quick)
    (path,) = tmp_path.iterdir()
    if damage == 'other':
      with path.open('wb') as file:
        np.savez(file, weights=np.zeros(3))
    else:
      path.write_bytes(path.read_bytes()[: {'cut': 5000, 'empty': 0}[damage]])
    with pytest.warns(UserWarning, match='is trained again'):
      again = classifier.load_or_fit(*args, cache_dir=tmp_path, **self.quick)
    jax.tree.map(np.testing.assert_array_equal, again.params, good.params)
    assert list(tmp_path.iterdir()) == [path]
    classifier.load_or_fit(*args, cache_dir=tmp_path, **self.quick)


def test_agreement_takes_logits_or_classes():
  logits = np.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
  assert metrics.class_agreement(logits, [1, 1, 1]) == pytest.approx(2 / 3)
  assert metrics.class_agreement(np.array([1, 0, 1]), [1, 0, 1]) == 1
  with pytest.raises(ValueError, match='the same length'):
    metrics.class_agreement(logits, [1, 1])


@pytest.mark.parametrize(
  ('images', 'labels', 'classes', 'message'),
  [
    (np.zeros((4, 7, 8, 1), np.uint8), [0] * 4, 2, '8 x 8'),
    (np.zeros((4, 8, 8), np.uint8), [0] * 4, 2, '8 x 8'),
    (np.zeros((4, 8, 8, 1), np.uint8), [0] * 3, 2, 'the same length'),
    (np.zeros((4, 8, 8, 1), np.uint8), [0, 1, 2, 0], 2, 'labels must be in'),
  ],
)
def test_unfit_arguments_are_refused(images, labels, classes, message):
  with pytest.raises(ValueError, match=message):
    classifier.fit(images, labels, classes)
