"""Usage and perplexity: bounds, closed forms, and honest names."""

import jax
import numpy as np
import pytest

from vq_jax.metrics import codebook


@pytest.mark.parametrize('used', [1, 3, 12])
def test_evenly_used_codes(used):
  counts = np.zeros(12)
  counts[:used] = 7
  np.testing.assert_allclose(codebook.usage(counts), used / 12, rtol=1e-6)
  np.testing.assert_allclose(codebook.perplexity(counts), used, rtol=1e-5)


def test_perplexity_is_exp_of_the_entropy_whatever_the_total():
  counts = np.random.default_rng(0).integers(0, 50, 64).astype(np.float64)
  p = counts[counts > 0] / counts.sum()
  want = np.exp(-(p * np.log(p)).sum())
  for scale in (1, 10_000):
    got = jax.jit(codebook.perplexity)(counts * scale)
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_nothing_counted():
  assert float(codebook.usage(np.zeros(5))) == 0
  assert float(codebook.perplexity(np.zeros(5))) == 1


def test_metric_names_say_over_what_they_were_computed():
  counts = {'': np.array([4, 0, 4, 0])}
  window = codebook.window_stats(counts)
  dataset = codebook.dataset_stats(counts)
  assert set(window) == {'window_usage', 'window_perplexity'}
  assert set(dataset) == {'dataset_usage', 'dataset_perplexity'}
  assert float(window['window_usage']) == 0.5
  np.testing.assert_allclose(dataset['dataset_perplexity'], 2, rtol=1e-6)
  several = codebook.dataset_stats({'_0': np.ones(3), '_1': np.array([1, 0])})
  assert several['dataset_usage_0'] == 1 and several['dataset_usage_1'] == 0.5


def test_several_codebooks_are_counted_apart():
  counts = np.array([[1, 1, 0, 0], [4, 0, 0, 0]])
  np.testing.assert_allclose(codebook.usage(counts), 3 / 8)
  np.testing.assert_allclose(codebook.perplexity(counts), (2 + 1) / 2)
