"""Steps that are not taken: gradients that are not finite, or far too large."""

import flax.struct
import jax
import jax.numpy as jnp

from train.state import TrainState
from vq_jax.utils import replicas
from vq_jax.utils.trees import Tree

SKIPPED = 'skipped_steps'  # the metric: 1 for a step that was not taken

# The mean covers about so many steps, and the first ones are always taken.
_WINDOW, _FIRST = 100, 20


@flax.struct.dataclass
class NormMean:
  """The moving average of the gradient norm over the steps that were taken.

  Attributes:
    mean: float32 [].
    count: int32 [], number of these steps.
  """

  mean: jax.Array
  count: jax.Array

  @classmethod
  def zeros(cls) -> 'NormMean':
    """Returns the average before the first step."""
    return cls(mean=jnp.zeros(()), count=jnp.zeros((), jnp.int32))

  def update(self, norm: jax.Array) -> 'NormMean':
    """Returns the average with one more norm, []."""
    count = self.count + 1
    rate = 1 / jnp.minimum(count, _WINDOW)
    return NormMean(mean=self.mean + rate * (norm - self.mean), count=count)

  def is_spike(self, norm: jax.Array, skip_above: float) -> jax.Array:
    """Returns whether a finite norm is above `skip_above` times the mean."""
    above = (norm > skip_above * self.mean) & jnp.isfinite(norm)
    return above & (self.count >= _FIRST)


def is_finite(tree: Tree) -> jax.Array:
  """Returns whether all floats of a tree are finite, bool []."""
  leaves = map(jnp.asarray, jax.tree.leaves(tree))
  floats = [x for x in leaves if jnp.issubdtype(x.dtype, jnp.floating)]
  return jnp.stack([jnp.isfinite(x).all() for x in floats]).all()


def keep_or_skip(
  before: TrainState,
  after: TrainState,
  metrics: dict,
  *,
  skip_nonfinite: bool,
  skip_above: float | None,
  axis_name: str | None,
) -> tuple[TrainState, dict]:
  """Returns the state after a step, or the one before if it is skipped.

  A skipped step changes nothing but `state.step`: the next one has the next
  batch and other random numbers. All devices decide alike.

  Args:
    before: the state before the step.
    after: the state after it.
    metrics: the metrics of the step.
    skip_nonfinite: whether a step is skipped if its metrics or its new state
      are not finite.
    skip_above: see `schema.OptimConfig`.
    axis_name: name of the pmap axis; None under jit.

  Returns:
    the state, and the metrics with `skipped_steps`, 0 or 1.
  """
  take = jnp.bool_(True)
  if skip_above is not None:
    norm = metrics['grad_norm']
    take &= ~before.norm_mean.is_spike(norm, skip_above)
    after = after.replace(norm_mean=before.norm_mean.update(norm))
  if skip_nonfinite:
    take &= is_finite((after.replace(frozen={}), metrics))
  take = replicas.psum(jnp.where(take, 0, 1), axis_name) == 0

  def choose(new, old):
    return jax.tree.map(lambda n, o: jnp.where(take, n, o), new, old)

  kept = choose(after.replace(frozen={}), before.replace(frozen={}))
  metrics = dict(metrics)
  if 'code_counts' in metrics:
    counts = metrics['code_counts']
    metrics['code_counts'] = choose(
      counts, jax.tree.map(jnp.zeros_like, counts)
    )
  metrics[SKIPPED] = 1.0 - take
  return kept.replace(step=after.step, frozen=after.frozen), metrics
