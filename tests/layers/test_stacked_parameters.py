"""Parameters of all blocks in one array, or of each apart."""

import chex
import numpy as np

from vq_jax.layers import stacked_parameters

KERNELS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
STACKED = {'blocks': {'mlp': {'kernel': KERNELS, 'bias': KERNELS[:, 0]}}}


def test_stack_inverts_unroll():
  apart = stacked_parameters.unroll(STACKED)
  np.testing.assert_array_equal(apart['block_1']['mlp']['kernel'], KERNELS[1])
  chex.assert_trees_all_equal(stacked_parameters.stack(apart), STACKED)


def test_stacks_are_arranged_as_others_wherever_they_are():
  apart = stacked_parameters.unroll(STACKED)
  other = {'head': KERNELS, 'stack': STACKED, 'more': {'block_0': KERNELS}}
  unrolled = other | {'stack': apart}
  arrange = stacked_parameters.arrange_like
  chex.assert_trees_all_equal(arrange(other, unrolled), unrolled)
  chex.assert_trees_all_equal(arrange(unrolled, other), other)
  chex.assert_trees_all_equal(arrange(other, other), other)
  chex.assert_trees_all_equal(arrange(other, {}), other)
