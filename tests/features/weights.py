"""Released weights, where they are at hand."""

import pytest

from vq_jax import features


def need(name):
  """Skips a test, with the reason, where they are not."""
  try:
    features.find(name)
  except features.MissingWeights as error:
    pytest.skip(str(error))
