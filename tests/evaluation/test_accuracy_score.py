"""The classification accuracy score."""

import numpy as np
import pytest

import vq_jax
from vq_jax import evaluation


def stripes(n, seed):
  """Images of two classes: stripes across and stripes down."""
  rng = np.random.default_rng(seed)
  i, j = np.indices((8, 8))
  labels = np.arange(n) % 2
  clean = np.stack([i % 2, j % 2])[labels][..., None]
  noisy = 60 + 120 * clean + rng.normal(scale=20, size=clean.shape)
  return np.clip(noisy, 0, 255).astype(np.uint8), labels


def test_good_samples_teach_the_classes_and_wrong_labels_do_not():
  images, labels = stripes(256, 0)
  held_out = stripes(40, 1)

  def score(labels):
    return evaluation.classification_accuracy_score(
      (images, labels), held_out, 2, epochs=10
    )

  assert score(labels) > 0.95
  assert score(1 - labels) < 0.05


def test_images_of_other_sizes():
  images, labels = stripes(4, 0)
  with pytest.raises(ValueError, match='one size.*8, 8, 1.*8, 6, 1'):
    evaluation.classification_accuracy_score(
      (images, labels), (images[:, :, :6], labels), 2
    )


def test_the_score_of_a_run(maskgit):
  model = vq_jax.load(maskgit)
  found = evaluation.accuracy_score.of_run(model, num=20, batch_size=10)
  assert found.num == 20 and found.num_real <= 20 and found.num_held_out
  assert 0 <= found.generated <= 1 and 0 <= found.real <= 1
  assert found == evaluation.accuracy_score.of_run(model, num=20)


def test_a_model_without_classes(tokenizer):
  with pytest.raises(ValueError, match='prior'):
    evaluation.accuracy_score.of_run(vq_jax.load(tokenizer), num=2)
