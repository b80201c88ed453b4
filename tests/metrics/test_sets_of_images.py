"""Laws of the metrics of sets of images, and the published formulas.

The transcriptions state the formulas of torch-fidelity, pytorch-fid, prdc and
google-research's cmmd without chunks.
"""

import numpy as np
import pytest
import scipy.linalg
import scipy.special

from vq_jax import metrics
from vq_jax.metrics import frechet
from vq_jax.metrics import neighbours


@pytest.fixture
def sets():
  """Features of two sets that differ in number, mean and spread."""
  rng = np.random.default_rng(0)
  mix = rng.normal(size=(7, 7))
  a = rng.normal(size=(61, 7)) @ mix
  b = 0.8 * rng.normal(size=(53, 7)) @ mix + 0.3
  return a.astype(np.float32), b.astype(np.float32)


def fid_by_sqrtm(a, b):
  cov_a, cov_b = (np.cov(x, rowvar=False) for x in (a, b))
  root = scipy.linalg.sqrtm(cov_a @ cov_b)
  difference = a.mean(0) - b.mean(0)
  return difference @ difference + np.trace(cov_a + cov_b - 2 * root.real)


def kid_with_loops(a, b, subsets, size, seed):
  rng = np.random.RandomState(seed)
  values = []
  for _ in range(subsets):
    x = a[rng.choice(len(a), size, replace=False)].astype(np.float64)
    y = b[rng.choice(len(b), size, replace=False)].astype(np.float64)

    def k(u, v):
      return (u @ v / len(u) + 1) ** 3

    within = [
      k(z[i], z[j])
      for z in (x, y)
      for i in range(size)
      for j in range(size)
      if i != j
    ]
    across = [k(u, v) for u in x for v in y]
    values.append(sum(within) / (size * (size - 1)) - 2 * np.mean(across))
  return np.mean(values), np.std(values)


def all_distances(a, b):
  a, b = a.astype(np.float64), b.astype(np.float64)
  return np.sqrt(np.square(a[:, None] - b[None]).sum(-1))


def prdc(real, fake, k):
  def radius(x):
    return np.sort(all_distances(x, x), axis=1)[:, k]

  across = all_distances(real, fake)
  inside = across < radius(real)[:, None]
  return (
    inside.any(0).mean(),
    (across < radius(fake)[None]).any(1).mean(),
    inside.sum() / k / len(fake),
    inside.any(1).mean(),
  )


def inception_score(logits, splits, seed):
  logits = logits[np.random.RandomState(seed).permutation(len(logits))]
  scores = []
  for i in range(splits):
    part = logits[i * len(logits) // splits : (i + 1) * len(logits) // splits]
    p = scipy.special.softmax(part.astype(np.float64), axis=1)
    kl = p * (np.log(p) - np.log(p.mean(0, keepdims=True)))
    scores.append(np.exp(kl.sum(1).mean()))
  return np.mean(scores), np.std(scores)


def mmd(a, b):
  def kernel(x, y):
    return np.exp(-(all_distances(x, y) ** 2) / 200).mean()

  return 1000 * (kernel(a, a) + kernel(b, b) - 2 * kernel(a, b))


def test_frechet_distance_is_that_of_matrix_square_roots(sets):
  a, b = sets
  found = metrics.frechet_distance(frechet.fit(a), frechet.fit(b))
  np.testing.assert_allclose(found, fid_by_sqrtm(a, b), rtol=1e-4)


def test_frechet_distance_of_fewer_vectors_than_features():
  """The formula of sqrtm is complex there, with a small imaginary part."""
  rng = np.random.default_rng(1)
  a, b = rng.normal(size=(2, 30, 90)).astype(np.float32) + 1
  found = metrics.frechet_distance(frechet.fit(a), frechet.fit(b))
  np.testing.assert_allclose(found, fid_by_sqrtm(a, b), rtol=1e-3)


def test_kid_is_the_mean_over_the_same_subsets(sets):
  found = metrics.kid(*sets, subsets=4, subset_size=20, seed=2020)
  expected = kid_with_loops(*sets, 4, 20, 2020)
  np.testing.assert_allclose((found.value, found.deviation), expected)
  assert found.standard_error == found.deviation / 2


def test_kid_has_the_mean_zero_between_halves_of_one_set():
  x = np.random.default_rng(0).normal(size=(2000, 4))
  found = metrics.kid(x[:1000], x[1000:], subset_size=100)
  assert abs(found.value) < 5 * found.standard_error


def test_neighbour_metrics_are_those_of_prdc(sets):
  for k in (1, 4):
    found = (
      *metrics.precision_recall(*sets, neighbours=k),
      *metrics.density_coverage(*sets, neighbours=k),
    )
    np.testing.assert_allclose(found, prdc(*sets, k), atol=1e-12)
    assert k > 1 or (0 < found[0] < 1 and 0 < found[1] < 1)


def test_inception_score_is_that_of_shuffled_splits(sets):
  found = metrics.inception_score(sets[0], splits=3, seed=2020)
  expected = inception_score(sets[0], 3, 2020)
  np.testing.assert_allclose((found.value, found.deviation), expected)


def test_inception_score_has_its_bounds():
  certain = 1e3 * np.tile(np.eye(5), (4, 1))
  assert metrics.inception_score(certain, splits=4).value == pytest.approx(5)
  alike = np.tile(np.arange(5.0), (12, 1))
  assert metrics.inception_score(alike).value == pytest.approx(1)


def test_cmmd_is_the_mmd_with_a_gaussian_kernel(sets):
  np.testing.assert_allclose(metrics.cmmd(*sets), mmd(*sets), rtol=1e-9)


@pytest.mark.parametrize('chunk_size', [16, 64])
def test_cmmd_of_vectors_of_length_one(sets, chunk_size):
  """Its kernels, all close to 1, differ by less than float32 can tell."""
  a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in sets)
  found = metrics.cmmd(a, b, chunk_size=chunk_size)
  np.testing.assert_allclose(found, mmd(a, b), rtol=1e-9)
  assert metrics.cmmd(a, a, chunk_size=chunk_size) < 1e-9


def test_equal_sets(sets):
  x = sets[0]
  assert metrics.frechet_distance(frechet.fit(x), frechet.fit(x)) < 1e-9
  assert metrics.cmmd(x, x) < 1e-9
  assert metrics.precision_recall(x, x) == (1, 1)
  assert metrics.density_coverage(x, x) == (1, 1)


def test_distant_sets(sets):
  x, far = sets[0], sets[0] + 1e3
  assert metrics.precision_recall(x, far) == (0, 0)
  assert metrics.density_coverage(x, far) == (0, 0)
  np.testing.assert_allclose(metrics.cmmd(x, far), mmd(x, far))


def test_repeated_images_cover_nothing_and_keep_zero_radii():
  one = np.random.default_rng(0).normal(size=(1, 512)).astype(np.float32)
  repeated = one.repeat(20, axis=0) * 1e3
  assert not neighbours.radii(repeated, 3).any()
  assert metrics.precision_recall(repeated, repeated) == (1, 1)


def summary(a, b, chunk_size):
  return [
    metrics.inception_score(a, splits=1, chunk_size=chunk_size).value,
    metrics.cmmd(a, b, chunk_size=chunk_size),
    *metrics.precision_recall(a, b, chunk_size=chunk_size),
    *metrics.density_coverage(a, b, chunk_size=chunk_size),
  ]


def test_neither_order_nor_chunks_change_a_number(sets):
  a, b = sets
  whole = summary(a, b, 100)
  order = np.random.default_rng(3)
  for chunk_size in (1, 7, 60):
    mixed = summary(order.permutation(a), order.permutation(b), chunk_size)
    np.testing.assert_allclose(mixed, whole, rtol=1e-9)


def test_files_give_the_numbers_of_arrays(sets, tmp_path):
  files = []
  for i, x in enumerate(sets):
    np.save(tmp_path / f'{i}.npy', x)
    files.append(np.load(tmp_path / f'{i}.npy', mmap_mode='r'))
  assert summary(*files, 16) == summary(*sets, 16)
  assert metrics.kid(*files, subsets=2) == metrics.kid(*sets, subsets=2)


def test_published_moments_are_read_as_they_are(sets):
  a, b = map(frechet.fit, sets)
  read = frechet.from_moments(b.mean.astype(np.float32), b.covariance)
  np.testing.assert_allclose(
    metrics.frechet_distance(a, read), metrics.frechet_distance(a, b), 1e-5
  )


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda x: metrics.inception_score(x[:9]), 'n >= 10; got only 9'),
    (lambda x: metrics.kid(x[:1], x), 'n >= 2'),
    (lambda x: metrics.kid(x, x, subset_size=999), 'n >= 999'),
    (lambda x: metrics.kid(x, x, subset_size=1), 'at least 2; got 1'),
    (lambda x: metrics.kid(x, x[:, :2]), 'same number of features; got 7 and'),
    (lambda x: metrics.precision_recall(x[:3], x), 'n >= 4; got only 3'),
    (lambda x: metrics.density_coverage(x, x[:5]), 'n >= 6; got only 5'),
    (lambda x: metrics.cmmd(x * np.nan, x), 'finite'),
    (lambda x: metrics.cmmd(x[0], x), r'\[n, D\]'),
    (lambda x: frechet.from_moments(x[0], x[:2]), r'covariance \[D, D\]'),
    (lambda x: frechet.from_moments(x[0], x[:7]), 'symmetric'),
    (lambda x: frechet.from_moments(x[0], -np.eye(7)), 'negative variances'),
  ],
)
def test_what_gives_no_number_is_refused(sets, call, message):
  with pytest.raises(ValueError, match=message):
    call(sets[0])
