"""Logits of rows that are equal are computed once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.samplers.keys import keys
from tests.samplers.test_samplers import MASKED
from tests.samplers.test_samplers import N
from tests.utils.variables import random_variables
from vq_jax import samplers
from vq_jax.samplers import base

B = 9


def rows_given(tokens, label, condition):
  """Returns how many rows it was given, after the sum of each row."""
  parts = [tokens.sum(1), label * 100, condition.sum(1) * 1000]
  count = jnp.full(len(tokens), len(tokens))
  return jnp.stack([sum(parts), count], axis=1)


@pytest.mark.parametrize(
  ('tokens', 'label', 'condition', 'computed'),
  [
    ([7] * B, [1] * B, [3] * B, 2),
    ([7] * B, [1, 0, 0, 1, 1, 1, 0, 1, 0], [3] * B, 2),
    ([7, 7, 6, 7, 6, 6, 6, 7, 7], [1] * B, [3] * B, 2),
    ([7] * B, [1] * B, [0, 0, 0, 0, 0, 0, 0, 0, 5], 2),
    ([7] * B, [1, 0, 0, 1, 1, 1, 0, 1, 2], [3] * B, B),
    (range(B), [1] * B, [3] * B, B),
  ],
)
def test_few_different_rows_are_computed_once(
  tokens, label, condition, computed
):
  tokens, condition = (
    jnp.stack([jnp.array(x), jnp.arange(B) * 0 + 2], axis=1)
    for x in (list(tokens), list(condition))
  )
  label = jnp.array(label)
  found = base.share_equal_rows(
    rows_given, tokens, label=label, condition=condition
  )
  want = rows_given(tokens, label, condition)
  np.testing.assert_array_equal(found[:, 0], want[:, 0])
  assert set(found[:, 1].tolist()) == {computed}


@pytest.mark.parametrize('guidance', [0.0, 2.0])
@pytest.mark.parametrize('classes', [1, 2])
def test_sharing_rows_changes_no_token(classes, guidance):
  empty, label = jnp.zeros((B, N), jnp.int32), jnp.arange(B) % classes
  variables = random_variables(MASKED, empty, seed=0, label=label)
  variables = jax.tree.map(lambda x: 3 * x, variables)
  sampler = samplers.MaskGITSampler(steps=3, guidance=guidance)
  plain, shared = (
    sampler(
      keys(B),
      MASKED,
      variables,
      empty,
      empty > 0,
      label=label,
      share_rows=share,
    )
    for share in (False, True)
  )
  np.testing.assert_array_equal(plain, shared)
