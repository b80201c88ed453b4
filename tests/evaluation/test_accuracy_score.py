"""The classification accuracy score."""

import contextlib
import tracemalloc

import numpy as np
import pytest

import vq_jax
from vq_jax import data
from vq_jax import evaluation
from vq_jax.evaluation import accuracy_score
from vq_jax.evaluation import references
from vq_jax.utils import images as image_lib


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


@pytest.mark.parametrize('in_memory', [2**30, 0])
def test_the_score_of_a_run(maskgit, tmp_path, monkeypatch, in_memory):
  """It is that of the same images, in files too, beside that of real ones."""
  model = vq_jax.load(maskgit)
  options = evaluation.EvaluationOptions(
    metrics=('cas',), num=20, batch_size=10
  )
  with monkeypatch.context() as patch:
    patch.setattr(accuracy_score, '_IN_MEMORY', in_memory)
    record = evaluation.evaluate_generation(model, tmp_path, options)
  assert not list(tmp_path.iterdir())
  (result,) = record.results
  assert result.metric == 'cas' and result.samples == 20
  generated = np.concatenate(
    [
      image_lib.to_uint8(batch)
      for batch in model.generate_batches(0, num=20, batch_size=10)
    ]
  )
  info = model.info.data
  with contextlib.ExitStack() as stack:
    train, held_out = (
      stack.enter_context(
        accuracy_score.read(
          references.open_data(model.info, None, split, limit=limit), tmp_path
        )
      )
      for split, limit in ((info.train_split, 20), (info.eval_split, None))
    )
  classes = len(model.info.class_names)
  want = accuracy_score.compare(
    (generated, np.arange(20) % classes), train, held_out, classes
  )
  assert (result.value, result.floor) == (want.generated, want.real)
  assert result.floor_samples == want.num_real == 20
  assert result.reference['samples'] == want.num_held_out == len(held_out[0])


def test_only_a_prior_with_its_own_data_has_the_score(
  maskgit, vae_run, tmp_path
):
  for run, given, message in [
    (vae_run, None, 'needs a prior with classes'),
    (maskgit, 'folder:somewhere', 'leave --data out'),
  ]:
    options = evaluation.EvaluationOptions(metrics=('cas',), num=4, data=given)
    with pytest.raises(ValueError, match=message):
      evaluation.evaluate_generation(vq_jax.load(run), tmp_path, options)


def test_images_without_classes(tmp_path):
  images = evaluation.SourceImages(
    data.ArraySource(np.zeros((2, 8, 8, 1), np.uint8))
  )
  with (
    pytest.raises(ValueError, match='at least two classes'),
    accuracy_score.read(images, tmp_path),
  ):
    pass


def peak_memory(count, folder):
  """Returns the largest number of bytes of a training on images in files."""
  pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
  pixels = np.broadcast_to(pixels, (count, 16, 16, 3))
  labels = np.arange(count) % 2
  source = data.ArraySource(pixels, labels, class_names=('a', 'b'))
  images = evaluation.SourceImages(source)
  held_out = stripes(16, 0)[0].repeat(2, 1).repeat(2, 2).repeat(3, 3)
  test = held_out, np.arange(16) % 2
  score = evaluation.classification_accuracy_score
  score((pixels[:64], labels[:64]), test, 2, epochs=1)  # compiles
  tracemalloc.start()
  with accuracy_score.read(images, folder) as found:
    assert found[0].shape == (count, 16, 16, 3)
    tracemalloc.reset_peak()
    score(found, test, 2, epochs=1)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  return peak


def test_memory_does_not_depend_on_the_number_of_images(tmp_path, monkeypatch):
  monkeypatch.setattr(accuracy_score, '_IN_MEMORY', 0)
  few, many = (peak_memory(n, tmp_path / str(n)) for n in (400, 1200))
  assert (many - few) / 800 < 16 * 16 * 3 / 4  # bytes of an image
