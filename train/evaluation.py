"""Evaluates a task on held-out examples, each of them exactly once."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from train import sharding
from train.sharding import JitRunner
from train.tasks.base import Task
from vq_jax import data
from vq_jax import metrics as metrics_lib
from vq_jax.utils.trees import Tree

_COUNTS = 'code_counts'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
  """The result of an evaluation.

  Attributes:
    metrics: name -> number.
    images: name -> image grid, uint8 [H, W, C].
    histograms: name -> counts.
  """

  metrics: dict[str, float]
  images: dict[str, np.ndarray]
  histograms: dict[str, np.ndarray]


class Evaluator:
  """Evaluates a task. It is compiled once.

  A batch is reduced on the devices to sums over its examples, and the sums of
  all batches are added up on the host in float64. The rows that fill the last
  batch have weight 0.
  """

  def __init__(
    self,
    task: Task,
    batches: data.EvalBatches,
    runner: JitRunner,
    num_images: int,
  ):
    """Prepares the evaluation.

    Args:
      task: defines the metrics and images.
      batches: the held-out examples.
      runner: compiles the function of a batch.
      num_images: number of images in a grid; 0 makes none.
    """
    self._task, self._batches, self._runner = task, batches, runner
    self._num_images = num_images
    self._sum_batch = runner.compile_eval(self._get_sums)

  def _get_sums(self, variables: Mapping[str, Tree], batch: dict) -> dict:
    """Returns name -> (sum of w v, sum of w), and the counts."""
    found = self._task.evaluate(variables, batch)
    counts = {_COUNTS: found.pop(_COUNTS)} if _COUNTS in found else {}
    sums = {}
    for name, (value, weight) in found.items():
      weight = weight * batch['mask'].astype(jnp.float32)
      sums[name] = (jnp.sum(value * weight), weight.sum())
    return {**sums, **counts}

  def __call__(self, networks: Mapping[str, Tree]) -> Evaluation:
    """Evaluates the trained network.

    Args:
      networks: name -> variables of all networks; see `JitRunner.gather`.
    """
    task = self._task
    total, position = None, 0
    for batch in self._batches:
      size = len(batch['label'])
      first = position + size * jax.process_index()
      index = np.arange(first, first + size, dtype=np.int32)
      position += size * jax.process_count()
      sums = self._sum_batch(
        networks, self._runner.transfer_eval({**batch, 'index': index})
      )
      sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
      total = sums if total is None else jax.tree.map(np.add, total, sums)
    counts = total.pop(_COUNTS, {})
    means = {name: float(value / n) for name, (value, n) in total.items()}
    stats = metrics_lib.codebook.dataset_stats(counts)
    return Evaluation(
      metrics={
        **task.summarize(means),
        **{name: float(value) for name, value in stats.items()},
      },
      images=self._make_images(networks),
      histograms={
        f'{_COUNTS}{suffix}': array.reshape(-1)
        for suffix, array in counts.items()
      },
    )

  def _make_images(self, networks: Mapping[str, Tree]) -> dict[str, np.ndarray]:
    """Returns the grids of the task."""
    if not self._num_images:
      return {}
    task = self._task
    # Others, such as that of LPIPS, are no part of the model.
    names = {*task.model.variables, task.trained}
    model = dataclasses.replace(
      task.model,
      variables=sharding.get_host_copy(
        {name: networks[name] for name in names}
      ),
    )
    return task.make_images(model, self._batches, self._num_images)
