"""Usage and perplexity, of a data set and of the last batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.metrics import codebook


def test_counts_of_batches_add_up_to_those_of_the_whole():
  indices = np.random.default_rng(0).integers(0, 9, (6, 4, 3))
  whole = codebook.count(indices, 12)
  np.testing.assert_array_equal(
    whole, sum(codebook.count(i, 12) for i in indices)
  )
  np.testing.assert_array_equal(
    whole, [(indices == k).sum() for k in range(12)]
  )
  assert codebook.count(np.zeros((0, 4), np.int32), 12).tolist() == [0] * 12


@pytest.mark.parametrize('bad', [-1, 12])
def test_an_index_outside_the_codebook_is_refused(bad):
  with pytest.raises(ValueError, match='must be in'):
    codebook.count(np.array([0, bad]), 12)


@pytest.mark.parametrize('used', [1, 3, 8])
def test_evenly_used_codes(used):
  counts = np.array([5] * used + [0] * (8 - used))
  np.testing.assert_allclose(codebook.usage(counts), used / 8)
  np.testing.assert_allclose(codebook.perplexity(counts), used, rtol=1e-5)


def test_perplexity_is_exp_of_the_entropy_whatever_the_total():
  p = np.array([0.5, 0.25, 0.25, 0.0])
  expected = np.exp(1.5 * np.log(2))
  for total in (4, 4 * 10**12):
    counts = (p * total).astype(np.int64)
    np.testing.assert_allclose(codebook.perplexity(counts), expected, rtol=1e-5)


def test_nothing_counted():
  assert codebook.dataset_stats(np.zeros(4)) == {
    'dataset_usage': 0,
    'dataset_perplexity': 1,
  }


def test_a_window_forgets_all_but_its_last_batches():
  batches = np.random.default_rng(0).integers(0, 3, (7, 10))
  window = codebook.CodebookWindow.create(10, 3)
  add = jax.jit(codebook.CodebookWindow.add)
  for i, counts in enumerate(batches):
    window = add(window, jnp.asarray(counts))
    seen = batches[max(0, i - 2) : i + 1].sum(axis=0)
    stats = window.stats()
    np.testing.assert_allclose(
      stats['window_usage'], codebook.usage(seen), rtol=1e-6
    )
    np.testing.assert_allclose(
      stats['window_perplexity'], codebook.perplexity(seen), rtol=1e-5
    )


def test_no_figure_of_a_window_bears_a_name_of_a_data_set():
  window = codebook.CodebookWindow.create(4, 2)
  assert not set(window.stats()) & set(codebook.dataset_stats(np.ones(4)))


def test_an_empty_window_is_refused():
  with pytest.raises(ValueError, match='at least one'):
    codebook.CodebookWindow.create(4, 0)
