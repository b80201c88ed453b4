"""Laws of k-means and of the codebook that starts by it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import D
from tests.quantizers.cases import K
from vq_jax.quantizers import kmeans as kmeans_lib

make = cases.CASES['ema_vq'].make


@functools.partial(jax.jit, static_argnames='size')
def kmeans(z, size=K, iterations=0, seed=0):
  return kmeans_lib.kmeans(jax.random.key(seed), z, size, iterations)


def error(z, codes):
  return cases.distances(z, codes).min(axis=-1).mean()


def test_no_iteration_samples_vectors_of_the_batch_without_repetition():
  z = cases.latents(40)
  centroids, counts = kmeans(z)
  rows = (np.asarray(centroids)[:, None] == np.asarray(z)).all(-1)
  assert (rows.sum(axis=1) == 1).all()
  assert (rows.sum(axis=0) <= 1).all()
  np.testing.assert_array_equal(counts, np.ones(K))


@pytest.mark.parametrize('size', [40, 41, 100])
def test_as_many_codes_as_vectors_or_more(size):
  """All K are vectors of the batch; with K = N each vector is one of them."""
  z = np.asarray(cases.latents(40))
  centroids, _ = kmeans(z, size=size)
  rows = (np.asarray(centroids)[:, None] == z).all(-1)
  assert (rows.sum(axis=1) == 1).all()
  if size == 40:
    assert rows.any(axis=0).all()


def test_one_iteration_is_lloyds():
  z = np.asarray(cases.latents(300), np.float64)
  start, _ = kmeans(z.astype(np.float32))
  nearest = cases.distances(z, start).argmin(axis=-1)
  want = np.stack([z[nearest == k].mean(axis=0) for k in range(K)])
  centroids, counts = kmeans(z.astype(np.float32), iterations=1)
  np.testing.assert_allclose(centroids, want, atol=1e-5)
  np.testing.assert_array_equal(counts, np.bincount(nearest, minlength=K))


def test_an_iteration_never_increases_the_error():
  z = cases.latents(300)
  errors = [error(z, kmeans(z, iterations=n)[0]) for n in range(8)]
  assert (np.diff(errors) < 1e-6).all()
  assert errors[-1] < 0.9 * errors[0]


def test_a_cluster_without_members_stays():
  """Of two equal centroids the second loses all its vectors."""
  z = np.repeat(np.asarray(cases.latents(2)), 3, axis=0)
  start, _ = kmeans(z, size=5)
  centroids, counts = kmeans(z, size=5, iterations=1)
  assert (np.asarray(counts) == 0).sum() == 3
  np.testing.assert_allclose(centroids, start, atol=1e-6)


def test_initialisation_lowers_the_error_of_the_first_batch():
  z = 5 + 0.1 * cases.latents(200)  # far from any random table
  losses = {}
  for iterations in [None, 3]:
    quantizer = make(kmeans_iterations=iterations)
    variables = cases.init(quantizer)
    losses[iterations] = cases.step(quantizer, variables, z)[0].loss
  assert losses[3] < 1e-2 * losses[None]


def test_averages_start_at_the_clusters():
  """The first update follows the formula from counts and sums of k-means."""
  quantizer = make(kmeans_iterations=3, decay=0.6)
  z = np.asarray(cases.latents(200))
  quantized, after = cases.step(quantizer, cases.init(quantizer), z)
  indices, state = np.asarray(quantized.indices), after['codebook']
  codes = np.asarray(quantized.quantized)
  for k in np.unique(indices):
    members = z[indices == k]
    start = codes[indices == k][0]
    size = np.asarray(state['cluster_size'])[k]
    before = (size - 0.4 * len(members)) / 0.6
    np.testing.assert_allclose(before, round(before), atol=1e-3)
    total = 0.6 * before * start + 0.4 * members.sum(axis=0)
    np.testing.assert_allclose(state['cluster_sum'][k], total, atol=1e-4)
    np.testing.assert_allclose(state['codebook'][k], total / size, atol=1e-5)
  np.testing.assert_allclose(state['cluster_size'].sum(), 200, rtol=1e-5)


def test_only_the_first_training_batch_initialises():
  on, off = make(kmeans_iterations=3), make()
  first, second = cases.latents(200), 5 + cases.latents(200, seed=1)
  start = cases.init(on)
  _, start = cases.run(on, start, second)  # no training batch
  _, state = cases.step(on, start, first)
  assert error(first, cases.table(on, state)) < 0.7 * error(
    first, cases.table(on, start)
  )
  _, with_kmeans = cases.step(on, state, second)
  _, without = cases.step(off, state, second)
  cases.assert_same(with_kmeans, without)


def test_fewer_vectors_than_codes():
  quantizer = make(kmeans_iterations=3)
  z = cases.latents(K // 2)
  quantized, after = cases.step(quantizer, cases.init(quantizer), z)
  codes = cases.table(quantizer, after)
  assert np.isfinite(codes).all()
  assert all(jnp.isfinite(v).all() for v in jax.tree.leaves(after))
  assert quantized.loss < 0.5
  assert (cases.distances(codes, z).min(axis=-1) < 6).all()


def compiled_vmap(function, axis_name):
  return jax.jit(jax.vmap(function, axis_name=axis_name))


@pytest.mark.parametrize(
  ('replicate', 'size'),
  [(compiled_vmap, K), (jax.pmap, K), (jax.pmap, 64)],
)
def test_replicas_find_the_centroids_of_the_whole_batch(replicate, size):
  """Whether the batch holds more vectors than K or, in all, fewer."""
  z = cases.latents(48)
  want = kmeans(z, size=size, iterations=3)
  got = replicate(
    lambda z: kmeans_lib.kmeans(jax.random.key(0), z, size, 3, 'batch'),
    axis_name='batch',
  )(z.reshape(8, 6, D))
  for replica in range(8):
    cases.assert_close([x[replica] for x in got], list(want))
