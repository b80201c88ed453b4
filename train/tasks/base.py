"""The contract between the training loop and a task."""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from typing import Any
from typing import ClassVar
from typing import TypeVar

import jax
import numpy as np

from train import optim
from train.intervals import Intervals
from train.state import TrainState
from vq_jax import data
from vq_jax.config import parse
from vq_jax.config import schema
from vq_jax.model import Model
from vq_jax.utils.trees import Tree

T = TypeVar('T')
Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
  """What a task that is to be trained is built from.

  Attributes:
    config: the config.
    run_config: what the `config.json` of the run holds.
    folder: the run folder.
    source: the training examples.
    intervals: the length of the training.
    axis_name: name of the pmap axis; None under jit.
    abstract: whether the networks that the task does not train are given by
      their shapes; no weights are read. The run folder then holds the
      `config.json` of the runs that are copied into it otherwise.
  """

  config: schema.Config
  run_config: Mapping[str, Any]
  folder: pathlib.Path
  source: data.Source
  intervals: Intervals
  axis_name: str | None = None
  abstract: bool = False

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C) of the training images."""
    return tuple(self.run_config['dataset']['image_shape'])

  def require_images(self) -> None:
    """Raises ConfigError if the training examples are tokens."""
    if isinstance(self.source, data.TokenSource):
      raise schema.ConfigError(
        f'the task {self.config.task!r} learns from images, but '
        f'{self.source.name} holds tokens.'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """Trains one network of a model and evaluates it.

  A task has no state of its own: its methods are functions of their arguments.

  Attributes:
    trained: key of `Model.variables` of the network that is trained:
      'autoencoder', 'prior' or 'critic'.
    model: the modules, and the variables of the networks that are not trained.
      Its `run_config` is what `config.json` holds.
    only: names of the parts of the network that are trained; () for all.
    axis_name: name of the pmap axis; None under jit.
  """

  trained: ClassVar[str]

  model: Model
  only: tuple[str, ...] = ()
  axis_name: str | None = None

  @property
  def frozen(self) -> dict[str, Tree]:
    """Network name -> variables of the networks that are only applied."""
    variables = self.model.variables
    return {k: dict(v) for k, v in variables.items() if k != self.trained}

  def init(self, rng: jax.Array) -> Tree:
    """Returns the first variables of the trained network."""
    raise NotImplementedError

  def loss(
    self,
    params: Tree,
    state: TrainState,
    batch: Mapping[str, jax.Array],
    rngs: Mapping[str, jax.Array],
  ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
    """Returns the loss of a batch, which gradients minimise.

    Args:
      params: parameters of the trained network.
      state: everything that no gradient trains.
      batch: `image` uint8 [B, H, W, C] or tokens, `label` int32 [B] and `key`,
        one key per example, [B].
      rngs: the streams 'dropout' and 'code'.

    Returns:
      the loss [], the new collection 'codebook', and metrics [] by name. The
      metric `code_counts`, see `vq_jax.autoencoders.base.code_counts`, is
      summed over the steps instead of averaged.
    """
    raise NotImplementedError

  def evaluate(
    self, variables: Mapping[str, Tree], batch: Mapping[str, jax.Array]
  ) -> dict[str, tuple[jax.Array, jax.Array] | jax.Array]:
    """Evaluates a batch of held-out examples.

    Args:
      variables: network name -> variables of all networks.
      batch: `image` or tokens, `label`, `mask` bool [B], which is false where
        a row only fills the batch, and `index` int32 [B], the positions of the
        examples in the data set.

    Returns:
      name -> (value [B], weight [B]). The metric is the weighted mean over the
      data set, without the rows whose mask is false. The entry `code_counts`
      is not averaged: it holds counts, which are summed.
    """
    raise NotImplementedError

  def summarize(self, means: Mapping[str, float]) -> dict[str, float]:
    """Returns the metrics of a data set, given the means of `evaluate`."""
    return dict(means)

  def make_images(
    self, model: Model, batches: data.EvalBatches, num: int
  ) -> dict[str, np.ndarray]:
    """Returns image grids that show what a model does, uint8 [H, W, C].

    Args:
      model: the model with the variables of all networks.
      batches: the held-out examples.
      num: number of images in a grid.
    """
    del model, batches, num
    return {}

  def adapt_weights(
    self, variables: Tree, loaded: Tree, run_config: Mapping[str, Any]
  ) -> Tree:
    """Returns weights of another run, as far as they fit, for `init_from`.

    Args:
      variables: the first variables of the trained network.
      loaded: those of the other run.
      run_config: the `config.json` of the other run.
    """
    del variables, run_config
    return loaded

  # The methods below are only overridden by a task that trains more than one
  # network, such as an autoencoder and its discriminator.

  def get_phase(self, step: int) -> Hashable:
    """Returns the phase of the training after `step` steps.

    The step of each phase is compiled by itself.
    """
    del step
    return None

  def init_auxiliary(self, rng: jax.Array) -> Tree | None:
    """Returns the first `TrainState.auxiliary`."""
    del rng
    return None

  def gradients(
    self,
    phase: Hashable,
    state: TrainState,
    batch: Mapping[str, jax.Array],
    rngs: Mapping[str, jax.Array],
  ) -> tuple[dict[str, Tree], Tree, Metrics]:
    """Returns gradients, codebook and metrics; see `train.step.Trainable`."""
    del phase

    def loss(params):
      return self.loss(
        optim.freeze_except(params, self.only), state, batch, rngs
      )

    (value, (codebook, metrics)), grads = jax.value_and_grad(
      loss, has_aux=True
    )(state.params)
    return {'params': grads}, codebook, {'loss': value, **metrics}

  def after_update(
    self,
    phase: Hashable,
    state: TrainState,
    grads: Mapping[str, Tree],
    metrics: Metrics,
    mean_gradients: Callable,
  ) -> tuple[TrainState, Metrics]:
    """Updates `state.auxiliary`; see `train.step.Trainable`."""
    del phase, grads, mean_gradients
    return state, metrics


def get_loss_config(model: Model, cls: type[T]) -> T:
  """Returns the config section `loss` of the run of a model.

  Args:
    model: the model; a run that was converted has no such section.
    cls: the class of the section.
  """
  return parse.from_dict(cls, model.config.get('loss', {}), 'config.loss')
