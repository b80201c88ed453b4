"""The training that a config describes, by shapes alone.

No data, no weights and no checkpoints are read, and no array is allocated.
"""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Hashable
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from train import config as config_lib
from train import optim as optim_lib
from train import run as run_lib
from train import step as step_lib
from train import tasks
from train.intervals import Intervals
from train.planning import examples as examples_lib
from train.planning.examples import Examples
from train.state import TrainState
from train.tasks.base import Setup
from train.tasks.base import Task
from vq_jax import data
from vq_jax.config import parse
from vq_jax.config import schema
from vq_jax.data import tokens as tokens_lib
from vq_jax.runs import layout
from vq_jax.runs import locations
from vq_jax.utils import trees
from vq_jax.utils.trees import Tree

# The fields of configs that name runs, and the copies of these runs.
_COPIES = {
  'autoencoder': layout.AUTOENCODER,
  'parent_prior': layout.PARENT,
  'generator': layout.GENERATOR,
}


class _NoSource(data.Source):
  """Stands for training examples that are not there."""

  def __len__(self) -> int:
    return 0

  def __getitem__(self, index: int):
    raise IndexError(index)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfigFile:
  """A config, and the configs of the runs that it needs.

  Attributes:
    config: the config.
    learns_from: field -> config file.
  """

  config: schema.Config
  learns_from: Mapping[str, str]

  @classmethod
  def load(cls, path: str, overrides=()) -> 'ConfigFile':
    """Loads a config file; see `train.config.load_config`."""
    config = config_lib.load_config(path, overrides)
    # Weights to start from have the shapes of those that they replace.
    config.pop('init_from', None)
    config.pop('init_keep', None)
    return cls(
      config=config_lib.parse_config(config),
      learns_from=config_lib.get_learns_from(path),
    )

  def get_source(self, field: str) -> str:
    """Returns the run folder or the config file that a field stands for.

    Raises:
      ConfigError: if there is neither.
    """
    given = getattr(self.config, field)
    if locations.resolve(given).is_dir() or given.partition(':')[0].endswith(
      '.py'
    ):
      return given
    if field not in self.learns_from:
      raise schema.ConfigError(
        f'there is no run folder config.{field}={given}. A plan needs only its '
        f'config: --config.{field}=configs/NAME.py.'
      )
    return self.learns_from[field]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
  """A training, by shapes.

  Attributes:
    config: the config.
    examples: what is known of the training examples.
    task: what is trained.
    intervals: the length of the training.
    optimizer: updates the parameters.
    schedule: the learning rate by step.
    state: the state, whose arrays are `jax.ShapeDtypeStruct`.
  """

  config: schema.Config
  examples: Examples
  task: Task
  intervals: Intervals
  optimizer: optax.GradientTransformation
  schedule: optax.Schedule
  state: TrainState

  @property
  def num_parameters(self) -> int:
    """Number of parameters that are trained, without a discriminator."""
    return trees.count(self.state.params)

  def get_step(self, phase: Hashable) -> step_lib.Step:
    """Returns the step of a phase, as the training loop takes it."""
    return step_lib.make_step(
      self.task,
      phase,
      self.optimizer,
      self.config.optim,
      seed=self.config.seed,
      schedule=self.schedule,
      skip_nonfinite=self.config.train.on_nonfinite == 'skip',
      dropout_rng=self.config.train.dropout_rng,
    )

  def get_batch(self, size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns a batch of `size` examples on all devices together."""
    shapes = {'image': (self.examples.image_shape, jnp.uint8)}
    if self.examples.tokens:
      height, width, _ = self.examples.image_shape
      grids = self.task.model.autoencoder.token_grids
      names = tokens_lib.feature_names(len(grids))
      shapes = {
        name: (grid.shape(height, width), jnp.int32)
        for name, grid in zip(names, grids, strict=True)
      }
    shapes['label'] = ((), jnp.int32)
    return {
      name: jax.ShapeDtypeStruct((size, *shape), dtype)
      for name, (shape, dtype) in shapes.items()
    }


def open_training(file: ConfigFile, **known: int | None) -> Training:
  """Returns the training that a config describes.

  Args:
    file: the config.
    **known: `number` of training examples, and `num_classes`, if they are
      known better than by `examples.describe`.

  Raises:
    ConfigError: if something in the config is wrong or missing.
  """
  examples = _describe_examples(file, known)
  with tempfile.TemporaryDirectory() as folder:
    setup = _make_setup(file, examples, pathlib.Path(folder))
    task = _make_task(setup)
  schedule = optim_lib.make_schedule(setup.config.optim, setup.intervals)
  optimizer = optim_lib.make_optimizer(setup.config.optim, schedule)
  return Training(
    config=setup.config,
    examples=examples,
    task=task,
    intervals=setup.intervals,
    optimizer=optimizer,
    schedule=schedule,
    state=_make_state(task, optimizer, setup.config),
  )


def _describe_examples(
  file: ConfigFile, known: Mapping[str, int | None]
) -> Examples:
  """Returns what is known of the examples; of tokens by their tokenizer."""
  found = examples_lib.describe(file.config.data, **known)
  if found is not None:
    return found
  runs = [name for name in _COPIES if hasattr(file.config, name)]
  if not runs:
    raise schema.ConfigError(
      f'the task {file.config.task!r} learns from images, and '
      f'config.data.source={file.config.data.source} holds tokens.'
    )
  source = file.get_source(runs[0])
  if locations.resolve(source).is_dir():
    facts = layout.read_complete_config(locations.resolve(source))['dataset']
    found = Examples(
      image_shape=tuple(facts['image_shape']),
      num_classes=len(facts['class_names']),
      number=known.get('number'),
    )
  else:
    images = ConfigFile.load(source)
    if file.config.data.eval_preprocess:  # that of the encoded images
      own = dataclasses.replace(
        file.config.data, source=images.config.data.source
      )
      images = dataclasses.replace(
        images, config=dataclasses.replace(images.config, data=own)
      )
    found = _describe_examples(images, known)
  return dataclasses.replace(found, tokens=True)


def _make_setup(
  file: ConfigFile, examples: Examples, folder: pathlib.Path
) -> Setup:
  """Writes the configs of all runs that a task needs into its run folder."""
  config = file.config
  for field, name in _COPIES.items():
    if getattr(config, field, None) is not None:
      _write_configs(folder / name, file.get_source(field), examples)
  steps_per_epoch = (examples.number or 0) / config.data.batch_size
  if config.train.total_steps is None and not examples.number:
    raise schema.ConfigError(
      f'the number of training examples of {config.data.source} is not known '
      'without the data, so total_epochs is no number of steps: give --images.'
    )
  return Setup(
    config=config,
    run_config={
      'config': parse.to_dict(config),
      'dataset': examples.to_facts(),
    },
    folder=folder,
    source=_NoSource(name=config.data.source, class_names=()),
    intervals=Intervals.create(config.train, steps_per_epoch=steps_per_epoch),
    abstract=True,
  )


def _write_configs(
  folder: pathlib.Path, source: str, examples: Examples
) -> None:
  """Writes the `config.json` of a run, and of those that it needs itself.

  Args:
    folder: where they are written.
    source: its run folder or config file.
    examples: those that the run is taken to have learned from, if it is a
      config file.
  """
  folder.mkdir(parents=True, exist_ok=True)
  run = locations.resolve(source)
  if run.is_dir():
    layout.write_config(folder, layout.read_complete_config(run))
    for name in _COPIES.values():
      if (run / name).is_dir():
        _write_configs(folder / name, str(run / name), examples)
    return
  images = dataclasses.replace(examples, tokens=False)
  setup = _make_setup(ConfigFile.load(source), images, folder)
  layout.write_config(folder, _make_task(setup).model.run_config)


def _make_task(setup: Setup) -> Task:
  return tasks.get_task_module(setup.config.task).make_task(setup)


def _make_state(
  task: Task, optimizer: optax.GradientTransformation, config: schema.Config
) -> TrainState:
  """Returns the shapes of the first state."""
  rng = jax.random.key(config.seed)
  state = jax.eval_shape(
    functools.partial(run_lib.create_state, task, optimizer, config.optim),
    jax.eval_shape(task.init, rng),
    rng,
  )
  return state.replace(frozen=get_shapes(task.frozen))


def get_shapes(tree: Tree) -> Tree:
  """Returns the shapes of a tree of arrays."""
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
