"""Orders in which parallel decoding decides the positions of an image.

An order scores all positions after each step. The positions with the lowest
scores are masked again; the mask schedule determines their number.
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
  """The state of decoding after the masked tokens of a step are sampled.

  Attributes:
    index: int32 [], the step t, from 0.
    progress: float32 [], r = (t + 1) / T.
    log_p: float32 [B, N], the log-probability that each token had when it was
      sampled, without temperature and logit scale; 0 for given tokens.
    grid: (h, w) of the tokens, N = h * w; None if it is not known.
    realism: float [B, N], the scores of a critic; None without a critic.
  """

  index: jax.Array
  progress: jax.Array
  log_p: jax.Array
  grid: tuple[int, int] | None = None
  realism: jax.Array | None = None


@runtime_checkable
class Order(Protocol):
  """An order of positions. It must be hashable, so that it is static under jit.

  Attributes:
    revises: whether all tokens but the given ones can be masked again in each
      step; otherwise only those just sampled can.
  """

  revises: bool

  def scores(self, keys: jax.Array, step: Step) -> jax.Array:
    """Scores all positions; those with the highest scores are kept.

    Args:
      keys: [B], one key per example, the same in all steps.
      step: the state of decoding.

    Returns:
      float32 [B, N].
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confidence:
  """Decides likely tokens first (MaskGIT, arXiv:2202.04200, section 3.2).

  score = log-probability + temperature * (1 - r) * Gumbel noise

  Attributes:
    temperature: the amount of noise; with little noise the samples are less
      diverse.

  Example:
    >>> from vq_jax import samplers
    >>> order = samplers.orders.Confidence(temperature=0.0)
    >>> samplers.MaskGITSampler(order=order).make_order().revises
    False
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
  """Keeps the tokens that a token critic scores as real.

  Token-Critic, https://arxiv.org/abs/2209.04439.

  score = critic + temperature * (1 - r) * Gumbel noise

  All tokens but the given ones can be masked again in each step.

  The code of the paper was not released, and the distribution, the scale and
  the annealing of its noise could not be confirmed; Gumbel noise that falls
  linearly is MaskGIT's. The implementation in lucidrains/muse-maskgit-pytorch
  adds uniform noise of +-1 / 2 times `critic_noise_scale`, 1.0 by default: a
  standard deviation of 0.29 at the first step, where temperature 1 here has
  1.28.

  Attributes:
    temperature: the amount of noise, in the units of the critic's scores.

  Example:
    >>> from vq_jax import samplers
    >>> samplers.orders.Critic().revises
    True
  """

  temperature: choice_lib.Temperature = 1.0
  revises = True

  def __post_init__(self):
    fields.check(self)

  def scores(self, keys: jax.Array, step: Step) -> jax.Array:
    """See `Order`; raises ValueError without a critic."""
    if step.realism is None:
      raise ValueError(
        'the order critic needs the scores of a token critic; load the run of '
        'one, or choose another order.'
      )
    realism = step.realism.astype(jnp.float32)
    return realism + _annealed_noise(keys, step, self.temperature)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Random:
  """Decides the positions in a random order.

  Example:
    >>> from vq_jax import samplers
    >>> samplers.orders.Random().revises
    False
  """

  revises = False

  def scores(self, keys: jax.Array, step: Step) -> jax.Array:
    """See `Order`."""
    return _noise(jax.random.uniform, keys, step)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Halton:
  """Decides positions that are spread over the image.

  Halton-MaskGIT, https://arxiv.org/abs/2503.17076. Tokens that are sampled in
  one step are far apart, so they depend little on one another. Given positions
  are skipped. See `halton_ranks`.

  Attributes:
    roll: whether each example begins at a random position of the Halton
      sequence, cyclically; otherwise all begin at the first.

  Example:
    >>> from vq_jax.samplers import orders
    >>> orders.halton_ranks(2, 2).tolist()
    [2, 1, 0, 3]
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
        f'the order halton needs the grid (h, w) of the {n} tokens, h * w = '
        f'{n}; got {step.grid}.'
      )
    ranks = jnp.broadcast_to(jnp.array([halton_ranks(*step.grid)]), (b, n))
    if self.roll:
      first = jax.vmap(lambda key: jax.random.randint(key, (1,), 0, n))(keys)
      ranks = (ranks - first) % n
    return -ranks.astype(jnp.float32)


ORDERS: dict[str, type[Order]] = {
  'confidence': Confidence,
  'critic': Critic,
  'halton': Halton,
  'random': Random,
}


@functools.lru_cache
def halton_ranks(h: int, w: int) -> np.ndarray:
  """Returns the rank of each cell in the Halton sequence: int32 [h * w].

  The i-th point of the two-dimensional Halton sequence, i from 1, lies in row
  floor(h x) and column floor(w y), where x and y are the radical inverses of i
  in base 2 and 3. The cells are ranked by their first points.
  """
  cells = np.zeros(0, np.int64)
  count = h * w
  while len(np.unique(cells)) < h * w:
    count *= 2
    points = np.arange(1, count)
    cells = w * _scaled_inverse(points, 2, h) + _scaled_inverse(points, 3, w)
  _, first = np.unique(cells, return_index=True)
  ranks = np.argsort(np.argsort(first)).astype(np.int32)
  ranks.flags.writeable = False  # the cache returns the same array again
  return ranks


def _scaled_inverse(points: np.ndarray, base: int, size: int) -> np.ndarray:
  """Returns floor(size * x) of the radical inverses x of the points."""
  numerator, denominator = np.zeros_like(points), 1
  while points.any():
    points, digit = np.divmod(points, base)
    numerator = numerator * base + digit
    denominator *= base
  return size * numerator // denominator  # in integers, exactly


def lowest(scores: jax.Array, among: jax.Array, count: jax.Array) -> jax.Array:
  """Selects the lowest scores of each example; of equal scores the first.

  Args:
    scores: float [B, N].
    among: bool [B, N], the candidates.
    count: int32 [B], how many candidates are selected; all if there are fewer.

  Returns:
    bool [B, N].
  """
  order = jnp.lexsort((scores, ~among), axis=-1)
  rank = jnp.argsort(order, axis=-1)
  return among & (rank < count[:, None])


def _noise(distribution, keys: jax.Array, step: Step) -> jax.Array:
  """Returns noise [B, N] that differs between steps."""
  keys = key_lib.fold_in(keys, step.index)
  return key_lib.sample(distribution, keys, step.log_p.shape[1:])


def _annealed_noise(keys: jax.Array, step: Step, temperature: float):
  """Returns Gumbel noise [B, N] that falls linearly to 0."""
  heat = temperature * (1 - step.progress)
  return heat * _noise(jax.random.gumbel, keys, step)
