"""Laws of probes: the closed form, chance, and certainty."""

import numpy as np
import pytest

from vq_jax.metrics import probe

RNG = np.random.default_rng(0)


def classes(n, width=6, apart=8.0, seed=0):
  """Features around a centre for each of three classes."""
  rng = np.random.default_rng(seed)
  centres = np.random.default_rng(99).normal(size=(3, width)) * apart
  labels = np.arange(n) % 3
  return centres[labels] + rng.normal(size=(n, width)), labels


@pytest.mark.parametrize('shape', [(40, 5), (12, 40)])
@pytest.mark.parametrize('penalty', [0.0, 0.5])
def test_a_probe_is_ridge_regression(shape, penalty):
  """Its predictions are those of the closed form."""
  x, other = RNG.normal(size=shape), RNG.normal(size=(90, shape[1]))
  labels, targets = np.arange(len(x)) % 3, np.eye(3)[np.arange(len(x)) % 3]
  mean, std = x.mean(axis=0), x.std(axis=0)
  x, scaled = (x - mean) / std, (other - mean) / std
  gram = x.T @ x + penalty * shape[1] * np.eye(shape[1])
  weights = np.linalg.pinv(gram) @ x.T @ (targets - targets.mean(axis=0))
  scores = scaled @ weights + targets.mean(axis=0)
  accuracy = probe.probe_accuracy(
    (x * std + mean, labels), (other, scores.argmax(axis=-1)), penalty=penalty
  )
  assert accuracy == 1.0


def test_separate_classes_are_found_from_a_single_example():
  found = probe.few_shot_accuracy(
    classes(90, apart=30.0),
    classes(60, apart=30.0, seed=1),
    shots=(1, 5),
    draws=4,
  )
  assert found == {1: (1.0, 0.0), 5: (1.0, 0.0)}
  assert probe.probe_accuracy(classes(90), classes(60, seed=1)) == 1.0


def test_random_features_classify_at_chance_level():
  labels = np.arange(3000) % 3
  x = RNG.normal(size=(3000, 8))
  found = probe.few_shot_accuracy(
    (x, labels), (RNG.normal(size=(3000, 8)), labels), shots=(10,), draws=20
  )
  np.testing.assert_allclose(found[10][0], 1 / 3, atol=0.02)


def test_more_shots_help_and_spread_less():
  train, test = classes(3000, apart=0.7), classes(900, apart=0.7, seed=1)
  found = probe.few_shot_accuracy(train, test, shots=(1, 10, 100), draws=20)
  means = [found[k][0] for k in (1, 10, 100)]
  assert (np.diff(means) > 0).all() and found[100][1] < found[1][1]


def test_samples_are_a_function_of_the_seed():
  train, test = classes(300, apart=0.5), classes(90, apart=0.5, seed=1)

  def found(seed):
    return probe.few_shot_accuracy(train, test, shots=(2,), seed=seed)

  assert found(0) == found(0) and found(0) != found(1)


def test_scale_and_constant_features_do_not_matter():
  (x, labels), (y, wanted) = (
    classes(90, apart=1.0),
    classes(60, apart=1.0, seed=1),
  )
  scale = np.array([1e-3, 1, 10, 100, 1e3, 5])
  moved = [
    np.concatenate([scale * a + 7, np.ones((len(a), 2))], 1) for a in (x, y)
  ]
  plain = probe.probe_accuracy((x, labels), (y, wanted), penalty=0.0)
  other = probe.probe_accuracy(
    (moved[0], labels), (moved[1], wanted), penalty=0.0
  )
  assert plain == other < 1


@pytest.mark.parametrize(
  ('shots', 'message'),
  [(0, 'of at least 1; got 0'), (2.5, 'got 2.5'), (31, 'between 1 and 30')],
)
def test_impossible_numbers_are_named(shots, message):
  with pytest.raises(ValueError, match=message):
    probe.few_shot_accuracy(classes(90), classes(9), shots=(shots,))
