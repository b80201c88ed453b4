"""Released weights, for tests that are skipped without them."""

import pytest

from vq_jax import features


def need(name):
  """Skips a test, with the reason, if the weights are missing."""
  try:
    features.find(name)
  except features.MissingWeights as error:
    pytest.skip(str(error))
