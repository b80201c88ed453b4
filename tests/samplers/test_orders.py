"""Laws of the orders: which positions are kept first."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.samplers.keys import keys
from vq_jax.samplers import orders

GRIDS = [(1, 1), (1, 32), (6, 6), (5, 7), (16, 16), (24, 24)]
grids = pytest.mark.parametrize('grid', GRIDS)


def step(b, n, index=0, steps=8, **fields):
  fields.setdefault('log_p', jnp.zeros((b, n)))
  return orders.Step(
    index=jnp.int32(index), progress=jnp.float32((index + 1) / steps), **fields
  )


def get_ranks(scores):
  """The rank of each position, the highest score first."""
  return np.argsort(np.argsort(-np.asarray(scores), axis=1), axis=1)


def halton(grid, n=4, roll=True, seed=0, **fields):
  seen = step(n, grid[0] * grid[1], grid=grid, **fields)
  return np.asarray(orders.Halton(roll=roll).scores(keys(n, seed), seen))


def mirrored(i, base):
  """The digits of i after the point, in reverse."""
  x, weight = Fraction(0), Fraction(1, base)
  while i:
    i, digit = divmod(i, base)
    x, weight = x + digit * weight, weight / base
  return x


@grids
def test_halton_lists_each_cell_once_by_its_first_point(grid):
  h, w = grid
  cells = []
  for i in itertools.count(1):
    cell = int(h * mirrored(i, 2)) * w + int(w * mirrored(i, 3))
    if cell not in cells:
      cells.append(cell)
    if len(cells) == h * w:
      break
  np.testing.assert_array_equal(np.argsort(orders.halton_ranks(h, w)), cells)


def test_the_first_halton_positions_equal_the_paper_s():
  """(1/2, 1/3), (1/4, 2/3), (3/4, 1/9), (1/8, 4/9) of 16 x 16."""
  first = np.argsort(orders.halton_ranks(16, 16))[:4]
  want = [(8, 5), (4, 10), (12, 1), (2, 7)]
  np.testing.assert_array_equal(first, [16 * y + x for y, x in want])


def reach(cells, grid):
  """The largest distance of a cell to the nearest one in the list."""
  y, x = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
  at = np.stack([y, x], axis=1)
  apart = np.linalg.norm(at[:, None] - at[None, cells], axis=-1)
  return apart.min(axis=1).max()


@pytest.mark.parametrize('grid', [(12, 20), (16, 16), (24, 24)])
@pytest.mark.parametrize('share', [0.1, 0.25, 0.5])
def test_halton_spreads_early_tokens_over_the_image(grid, share):
  """The largest gap is smaller than that of raster and random orders."""
  n = grid[0] * grid[1]
  count = int(np.ceil(share * n))
  spread = reach(np.argsort(orders.halton_ranks(*grid))[:count], grid)
  assert spread < reach(np.arange(count), grid)
  rng = np.random.default_rng(0)
  by_chance = [reach(rng.permutation(n)[:count], grid) for _ in range(50)]
  assert spread < np.mean(by_chance)


@grids
def test_halton_has_one_offset_per_example_in_all_steps(grid):
  ranks = orders.halton_ranks(*grid)
  got = get_ranks(halton(grid, n=40))
  for row in got:
    first = ranks[row == 0]
    np.testing.assert_array_equal((row + first) % len(ranks), ranks)
  if len(ranks) > 30:
    assert len(np.unique(got, axis=0)) > 15
  np.testing.assert_array_equal(get_ranks(halton(grid, n=40, index=5)), got)


def test_without_a_roll_all_examples_have_the_halton_order():
  got = get_ranks(halton((5, 7), roll=False))
  want = np.broadcast_to(orders.halton_ranks(5, 7), (4, 35))
  np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize('grid', [None, (5, 5)])
def test_halton_refuses_a_grid_that_does_not_fit(grid):
  with pytest.raises(ValueError, match=r'needs the grid \(h, w\) of the 24'):
    orders.Halton().scores(keys(2), step(2, 24, grid=grid))


def test_random_prefers_none_and_differs_in_steps_and_examples():
  b, n = 4000, 6
  got = get_ranks(orders.Random().scores(keys(b), step(b, n)))
  for rank in range(n):
    share = (got == rank).mean(axis=0)
    np.testing.assert_allclose(share, np.full(n, 1 / n), atol=0.03)
  assert len(np.unique(got, axis=0)) > 700  # of 720
  other = get_ranks(orders.Random().scores(keys(b), step(b, n, index=1)))
  assert (got != other).any(axis=1).mean() > 0.99


@pytest.mark.parametrize('index', [0, 3, 7])
def test_the_noise_of_confidence_and_critic_ends_at_zero(index):
  """Gumbel noise has the mean 0.577 and the deviation pi / sqrt 6."""
  b, n = 500, 40
  rng = np.random.default_rng(0)
  base = rng.normal(size=(b, n)).astype(np.float32)
  heat = 3.0 * (1 - (index + 1) / 8)
  for scores in [
    orders.Confidence(temperature=3.0).scores(
      keys(b), step(b, n, index, log_p=jnp.asarray(base))
    ),
    orders.Critic(temperature=3.0).scores(
      keys(b), step(b, n, index, realism=jnp.asarray(base))
    ),
  ]:
    noise = np.asarray(scores) - base
    np.testing.assert_allclose(noise.mean(), 0.5772 * heat, atol=0.03 * heat)
    deviation = np.pi / np.sqrt(6) * heat
    np.testing.assert_allclose(noise.std(), deviation, atol=0.03 * heat)


def test_at_temperature_zero_they_are_the_scores_themselves():
  base = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)))
  confidence = orders.Confidence(temperature=0)
  got = confidence.scores(keys(3), step(3, 5, log_p=base))
  np.testing.assert_array_equal(got, base)
  critic = orders.Critic(temperature=0)
  got = critic.scores(keys(3), step(3, 5, realism=base))
  np.testing.assert_array_equal(got, base)


@pytest.mark.parametrize(
  'order',
  [orders.Confidence(), orders.Critic(), orders.Random(), orders.Halton()],
  ids=lambda order: type(order).__name__,
)
def test_an_example_is_ordered_alike_in_any_batch(order):
  scores = jax.jit(
    lambda keys: order.scores(
      keys,
      step(len(keys), 12, grid=(3, 4), realism=jnp.zeros((len(keys), 12))),
    )
  )
  whole = np.asarray(scores(keys(8)))
  for part in [slice(2, 5), slice(None, None, -1)]:
    np.testing.assert_array_equal(scores(keys(8)[part]), whole[part])
  assert len(np.unique(whole, axis=0)) > 4
  assert hash(order) == hash(type(order)())


def test_the_critic_needs_a_network():
  with pytest.raises(ValueError, match='needs the scores of a token critic'):
    orders.Critic().scores(keys(2), step(2, 5))


@pytest.mark.parametrize('order', [orders.Confidence, orders.Critic])
def test_negative_noise_is_refused(order):
  with pytest.raises(ValueError, match='temperature must be a finite number'):
    order(temperature=-1.0)


def test_the_lowest_by_brute_force():
  """Also where scores are equal, or infinite, or none compete."""
  rng = np.random.default_rng(0)
  scores = rng.integers(-2, 3, (200, 9)).astype(np.float32)
  scores[scores == 2] = np.inf
  scores[scores == -2] = -np.inf
  among = rng.random((200, 9)) < rng.random((200, 1))
  count = rng.integers(0, 10, 200)
  got = np.asarray(orders.lowest(scores, among, count))
  for b in range(200):
    those = np.flatnonzero(among[b])
    by_score = those[np.argsort(scores[b, those], kind='stable')]
    want = np.isin(np.arange(9), by_score[: count[b]])
    np.testing.assert_array_equal(got[b], want)
