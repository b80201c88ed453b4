"""Laws of classifier rejection."""

import math

import numpy as np
import pytest

from vq_jax import samplers
from vq_jax.samplers import rejection

LABELS = np.array([2, 0, 2, 1, 2, 0])


class World:
  """Candidates are numbered, and the score of each number is fixed."""

  def __init__(self, seed=0):
    self.scores = np.random.default_rng(seed).normal(size=5000)
    self.labels = {}  # of the candidates made
    self.batches = []

  def generate(self, start, labels):
    numbers = np.arange(start, start + len(labels))
    self.labels.update(zip(numbers, labels, strict=True))
    self.batches.append(len(labels))
    return np.stack([numbers, labels], axis=1)

  def score(self, images, labels):
    np.testing.assert_array_equal(images[:, 1], labels)
    return self.scores[images[:, 0]]

  def sample(self, labels=LABELS, acceptance_rate=0.05, batch_size=7):
    return samplers.rejection_sample(
      self.generate, self.score, labels, acceptance_rate, batch_size=batch_size
    )


def test_at_acceptance_rate_one_it_is_plain_generation():
  got = World().sample(acceptance_rate=1)
  np.testing.assert_array_equal(got, np.stack([np.arange(6), LABELS], axis=1))


@pytest.mark.parametrize('acceptance_rate', [1, 0.7, 0.5, 0.3, 0.05, 0.005])
def test_the_best_of_each_label_are_kept_in_the_requested_order(
  acceptance_rate,
):
  world = World()
  got = world.sample(acceptance_rate=acceptance_rate)
  np.testing.assert_array_equal(got[:, 1], LABELS)
  for label, n in [(0, 2), (1, 1), (2, 3)]:
    made = [i for i, of in world.labels.items() if of == label]
    assert len(made) == math.ceil(n / acceptance_rate)
    best = sorted(made, key=lambda i: -world.scores[i])[:n]
    assert set(got[got[:, 1] == label, 0]) == set(best)


def test_counts_do_not_suffer_from_rounding():
  """As floats, 21 / 0.7 is a little more than 30."""
  for n, acceptance_rate, want in [
    (21, 0.7, 30),
    (3, 0.3, 10),
    (50, 0.005, 10**4),
  ]:
    got = rejection.candidate_labels(np.zeros(n, int), acceptance_rate)
    assert len(got) == want


@pytest.mark.parametrize('batch_size', [1, 5, 60, 1000])
def test_batches_change_nothing_and_are_not_too_large(batch_size):
  world = World()
  got = world.sample(acceptance_rate=0.1, batch_size=batch_size)
  np.testing.assert_array_equal(got, World().sample(acceptance_rate=0.1))
  assert max(world.batches) == min(batch_size, 60)
  assert sum(world.batches) == 60


def test_each_round_of_candidates_has_the_requested_labels():
  got = rejection.candidate_labels(LABELS, 0.25)
  np.testing.assert_array_equal(got.reshape(4, 6), np.tile(LABELS, (4, 1)))


def test_images_keep_their_type_and_what_is_kept_is_a_copy():
  batch = np.zeros((2, 3, 3, 1), np.uint8)

  def generate(start, labels):
    batch[:] = start + 1  # a buffer that is used again
    return batch[: len(labels)]

  got = samplers.rejection_sample(
    generate,
    lambda images, labels: -images[:, 0, 0, 0].astype(float),
    np.zeros(2, int),
    0.25,
    batch_size=2,
  )
  assert got.dtype == np.uint8
  np.testing.assert_array_equal(got, np.ones((2, 3, 3, 1)))


@pytest.mark.parametrize('acceptance_rate', [0, -0.1, 1.5])
def test_a_wrong_acceptance_rate_is_refused(acceptance_rate):
  with pytest.raises(
    ValueError, match='acceptance_rate must be a finite number in'
  ):
    World().sample(acceptance_rate=acceptance_rate)


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    ({'batch_size': 0}, 'batch_size must be a whole number of at least 1'),
    ({'labels': np.zeros((2, 2))}, r'labels must be int \[num\]'),
    ({'labels': np.zeros(0)}, r'labels must be int \[num\]'),
  ],
)
def test_wrong_arguments_are_refused(wrong, message):
  with pytest.raises(ValueError, match=message):
    World().sample(**wrong)


@pytest.mark.parametrize(
  'scores', [np.full(7, np.nan), np.full(7, -np.inf), np.zeros(6)]
)
def test_scores_that_cannot_be_compared_are_refused(scores):
  world = World()
  world.score = lambda images, labels: scores
  with pytest.raises(ValueError, match='a finite number for each of the 7'):
    world.sample()
