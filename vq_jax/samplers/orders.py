"""Which positions parallel decoding keeps first.

An order scores the positions after a step's draws. Those with the lowest scores
are masked again, as many as the schedule says; how many is not its concern.
"""

import dataclasses
import functools
from typing import Protocol
from typing import runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.samplers import choice as choice_lib
from vq_jax.samplers import keys as key_lib
from vq_jax.utils import fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
  """What an order may look at, once the masked tokens of a step are drawn.

  Attributes:
    index: int32 [], t from 0.
    progress: float32 [], r = (t + 1) / T.
    log_p: float32 [B, N], the log-probability that each token had when it was
      drawn, by the plain logits; 0 for given ones.
    grid: (h, w) of the tokens, N = h * w; None if the caller did not say.
    realism: float [B, N], how real a critic finds each token; None without.
  """

  index: jax.Array
  progress: jax.Array
  log_p: jax.Array
  grid: tuple[int, int] | None = None
  realism: jax.Array | None = None


@runtime_checkable
class Order(Protocol):
  """An order of positions: hashable, hence static under jit.

  Attributes:
    revises: whether tokens decided in earlier steps compete again; otherwise
      only those just drawn do.
  """

  revises: bool

  def scores(self, keys: jax.Array, step: Step) -> jax.Array:
    """Returns float32 [B, N]; the highest are kept.

    Args:
      keys: [B], one per example, the same in all steps.
      step: the step.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confidence:
  """The likely tokens first (MaskGIT, section 3.2).

  Log-probability + temperature * (1 - r) * Gumbel noise.

  Attributes:
    temperature: little noise takes the safe tokens first and costs diversity.
  """

  temperature: choice_lib.Temperature = 4.5
  revises = False

  def __post_init__(self):
    fields.check(self)

  def scores(self, keys: jax.Array, step: Step) -> jax.Array:
    """See `Order`."""
    return step.log_p + _annealed_noise(keys, step, self.temperature)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Critic:
  """What a second network finds real (Token-Critic, Lezama et al. 2022).

  Its score + temperature * (1 - r) * Gumbel noise. All tokens but the given
  ones compete in each step, so that a decided one may be drawn anew.

  The code of the paper was not released, and neither how its noise falls nor
  its distribution and scale could be confirmed. Gumbel noise that falls
  linearly is MaskGIT's.
  The re-implementation lucidrains/muse-maskgit-pytorch draws evenly from
  +-1 / 2 times `critic_noise_scale`, 1.0: so its noise has a standard deviation
  of 0.29 in the beginning, where temperature 1 here has 1.28.

  Attributes:
    temperature: of the noise, in the units of the critic's scores.
  """

  temperature: choice_lib.Temperature = 1.0
  revises = True

  def __post_init__(self):
    fields.check(self)

  def scores(self, keys: jax.Array, step: Step) -> jax.Array:
    """See `Order`; raises ValueError without a critic."""
    if step.realism is None:
      raise ValueError(
        'the order Critic needs a network that scores tokens; hand its '
        'critic_fn to decode, or take another order.'
      )
    realism = step.realism.astype(jnp.float32)
    return realism + _annealed_noise(keys, step, self.temperature)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Random:
  """Any position as soon as any other."""

  revises = False

  def scores(self, keys: jax.Array, step: Step) -> jax.Array:
    """See `Order`."""
    return _noise(jax.random.uniform, keys, step)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Halton:
  """Spread over the image (Halton-MaskGIT, Besnier et al. 2025).

  Tokens drawn together are far apart, so they depend little on one another. See
  `halton_ranks`; positions that are given are passed over.

  Attributes:
    roll: each example begins at a random cell of the list, and goes on at its
      start after its end.
  """

  roll: bool = True
  revises = False

  def __post_init__(self):
    fields.check(self)

  def scores(self, keys: jax.Array, step: Step) -> jax.Array:
    """See `Order`; raises ValueError unless the grid fits the tokens."""
    b, n = step.log_p.shape
    if step.grid is None or step.grid[0] * step.grid[1] != n:
      raise ValueError(
        f'the order Halton needs the grid (h, w) of the {n} tokens, h * w = '
        f'{n}; got {step.grid}.'
      )
    ranks = jnp.broadcast_to(jnp.array([halton_ranks(*step.grid)]), (b, n))
    if self.roll:
      first = jax.vmap(lambda key: jax.random.randint(key, (1,), 0, n))(keys)
      ranks = (ranks - first) % n
    return -ranks.astype(jnp.float32)


@functools.lru_cache
def halton_ranks(h: int, w: int) -> np.ndarray:
  """Returns the place of each cell in the Halton order: int32 [h * w].

  The i-th point of the two-dimensional sequence, i from 1, lies in row
  floor(h x) and column floor(w y), where x has the digits of i in base 2, and y
  those in base 3, mirrored at the point. A cell's place is that of its first
  point among those of all cells.
  """
  cells = np.zeros(0, np.int64)
  count = h * w
  while len(np.unique(cells)) < h * w:
    count *= 2
    points = np.arange(1, count)
    cells = w * _mirrored(points, 2, h) + _mirrored(points, 3, w)
  _, first = np.unique(cells, return_index=True)
  ranks = np.argsort(np.argsort(first)).astype(np.int32)
  ranks.flags.writeable = False  # it is handed out again
  return ranks


def _mirrored(points: np.ndarray, base: int, size: int) -> np.ndarray:
  """Returns floor(size * x), x being the points' digits after the point."""
  numerator, denominator = np.zeros_like(points), 1
  while points.any():
    points, digit = np.divmod(points, base)
    numerator = numerator * base + digit
    denominator *= base
  return size * numerator // denominator  # in integers, exactly


def lowest(scores: jax.Array, among: jax.Array, count: jax.Array) -> jax.Array:
  """Marks the lowest scores of each example; of equal ones the first.

  Args:
    scores: float [B, N].
    among: bool [B, N], which ones compete.
    count: int32 [B], how many are marked; all that compete, if these are fewer.

  Returns:
    bool [B, N].
  """
  order = jnp.lexsort((scores, ~among), axis=-1)
  rank = jnp.argsort(order, axis=-1)
  return among & (rank < count[:, None])


def _noise(distribution, keys: jax.Array, step: Step) -> jax.Array:
  """Returns noise [B, N], another in each step."""
  keys = key_lib.fold_in(keys, step.index)
  return key_lib.draw(distribution, keys, step.log_p.shape[1:])


def _annealed_noise(keys: jax.Array, step: Step, temperature: float):
  """Returns Gumbel noise [B, N] that ends at nothing."""
  heat = temperature * (1 - step.progress)
  return heat * _noise(jax.random.gumbel, keys, step)
