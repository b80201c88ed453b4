"""The fields of a training config: their types, ranges and defaults.

A config file states only what differs from these defaults. The sub-configs
that all tasks share stand here; each task in `train/tasks` extends `Config` by
its own (`loss`, and for some `adversary`, `sampler`, ...).
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated
from typing import ClassVar
from typing import Literal

from vq_jax.utils import fields

_Decay = Annotated[float, fields.Range(least=0, most=1 - 1e-9)]


class ConfigError(ValueError):
  """A config has an unknown key, lacks one, or holds a wrong value."""


@dataclasses.dataclass(frozen=True)
class Spec:
  """Marks a field whose mapping names a type of the registry and its fields.

  Example: `model: Annotated[Mapping, Spec('autoencoder')]` takes
  `{'type': 'vqvae', 'encoder': {...}, ...}`; see `vq_jax.config.registry`.

  Attributes:
    kind: a key of `registry.REGISTRY`.
  """

  kind: str


class SubConfig:
  """A sub-config. It checks the values of its fields when it is made.

  Attributes:
    exclusive: groups of fields of which only one may be given. Setting one on
      the command line replaces the others.
  """

  exclusive: ClassVar[tuple[tuple[str, ...], ...]] = ()

  def __post_init__(self):
    fields.check(self, error=ConfigError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duration(SubConfig):
  """A number of training steps, given in one of three units.

  Attributes:
    steps: optimizer steps.
    epochs: passes over the training examples.
    percent: of the whole training.
  """

  exclusive = (('steps', 'epochs', 'percent'),)

  steps: Annotated[int, fields.Range(least=0, most=2**31 - 1)] | None = None
  epochs: fields.NonNegativeFloat | None = None
  percent: Annotated[float, fields.Range(least=0, most=100)] | None = None

  def __post_init__(self):
    super().__post_init__()
    given = [v for v in dataclasses.astuple(self) if v is not None]
    if len(given) != 1:
      raise ConfigError(
        "a duration is one of {'steps': n}, {'epochs': n}, {'percent': n} with "
        f'n >= 0; got {dataclasses.asdict(self)}.'
      )

  def to_steps(self, *, steps_per_epoch: float, total: int) -> int:
    """Returns the duration in steps of a training of `total` steps."""
    if self.steps is not None:
      return self.steps
    if self.epochs is not None:
      return round(self.epochs * steps_per_epoch)
    assert self.percent is not None  # one of the three is given
    return round(self.percent / 100 * total)


NO_STEPS = Duration(steps=0)

Preprocess = tuple[Annotated[Mapping, Spec('preprocessing')], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(SubConfig):
  """`config.data`: which images are read, and how.

  Attributes:
    source: `tfds:<name>`, `folder:<path>`, `npz:<file>`, `tokens:<folder>`, or
      `<package.module>:<Class>` for a source of one's own.
    train_split: split to train on, such as 'train' or 'train[:95%]'.
    eval_split: split to evaluate on, such as 'test' or 'train[95%:]'.
    data_dir: folder in which TFDS keeps its data sets; None for its default.
    channels: 1 or 3 converts the images; None takes them as they are.
    batch_size: images of a training step on all devices together.
    eval_batch_size: images of an evaluation step on all devices together.
    eval_limit: number of examples to evaluate on; None for all.
    train_preprocess: specs of the preprocessing operations in training.
    eval_preprocess: specs of the preprocessing operations in evaluation, of
      which none may be random.
    in_memory: whether a data set that fits is decoded once and kept in memory.
    workers: number of processes that read images; 0 reads in a thread.
    prefetch: number of batches put on the devices ahead of time.
    max_unreadable: number of unreadable images that are skipped before the
      training stops.
  """

  source: str
  train_split: str = 'train'
  eval_split: str = 'test'
  data_dir: str | None = None
  channels: Literal[1, 3] | None = None
  batch_size: fields.PositiveInt = 256
  eval_batch_size: fields.PositiveInt = 256
  eval_limit: fields.PositiveInt | None = None
  train_preprocess: Preprocess = ()
  eval_preprocess: Preprocess = ()
  in_memory: bool = True
  workers: Annotated[int, fields.Range(least=0, most=1024)] = 0
  prefetch: Annotated[int, fields.Range(least=0, most=1024)] = 2
  max_unreadable: fields.NonNegativeInt = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig(SubConfig):
  """`config.optim`: AdamW and its learning rate.

  Attributes:
    learning_rate: the highest learning rate.
    schedule: of the learning rate after the warm-up: 'constant', 'cosine' or
      'linear'.
    warmup: duration of the linear warm-up from 0.
    final_scale: the last learning rate divided by the highest one.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    weight_decay: decoupled weight decay, multiplied by the learning rate.
    decay_names: names of the parameters to which weight decay is applied.
    only: names of the parts of the model that are trained, such as 'decoder';
      () for all. The other parts and EMA codebooks are frozen.
    clip_norm: global norm to which gradients are clipped; None for no clipping.
    ema_decay: decay of the averaged parameters, which evaluation and sampling
      use; it ramps up as min(decay, (1 + t) / (10 + t)). None for no average.
    accumulate: number of parts into which a batch is split; their gradients
      are averaged, which saves memory.
    skip_above: a step is skipped if the norm of its gradients, before they are
      clipped, is more than this multiple of the moving average of the last 100
      steps. The first 20 steps are always taken. None skips none.
  """

  learning_rate: fields.NonNegativeFloat
  schedule: Literal['constant', 'cosine', 'linear'] = 'cosine'
  warmup: Duration = NO_STEPS
  final_scale: fields.NonNegativeFloat = 0.0
  b1: _Decay = 0.9
  b2: _Decay = 0.999
  eps: fields.PositiveFloat = 1e-8
  weight_decay: fields.NonNegativeFloat = 0.0
  decay_names: tuple[str, ...] = ('kernel',)
  only: tuple[str, ...] = ()
  clip_norm: fields.PositiveFloat | None = None
  ema_decay: _Decay | None = None
  accumulate: fields.PositiveInt = 1
  skip_above: Annotated[float, fields.Range(least=1, most=1e9)] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(SubConfig):
  """`config.train`: how long training takes, and what it writes how often.

  Attributes:
    total_steps: length of the training in optimizer steps.
    total_epochs: length of the training in passes over the training examples.
      One of the two is given.
    log_every: duration between lines of metrics.
    eval_every: duration between evaluations; there is one at the end, too.
    save_every: duration between checkpoints; there is one at the end, too.
    keep: number of the latest checkpoints that are kept.
    num_images: number of images in the grids that an evaluation writes; 0
      writes none, which saves the time to sample them.
    on_nonfinite: 'stop' ends the training at a loss, gradient or other metric
      that is not finite. 'skip' does not take such a step: parameters, their
      averages, the optimizer and the codebook stay as they were.
    max_skipped: the training stops when so many steps in a row were skipped.
    dropout_rng: the generator of dropout masks, as `jax.random.key` names it:
      'rbg' is the hardware's, whose numbers depend on the chip, the mesh and
      the version of XLA.
  """

  exclusive = (('total_steps', 'total_epochs'),)

  total_steps: fields.PositiveInt | None = None
  total_epochs: fields.PositiveFloat | None = None
  log_every: Duration = Duration(steps=100)
  eval_every: Duration = Duration(percent=25)
  save_every: Duration = Duration(percent=25)
  keep: fields.PositiveInt = 2
  num_images: Annotated[int, fields.Range(least=0, most=4096)] = 16
  on_nonfinite: Literal['stop', 'skip'] = 'stop'
  max_skipped: fields.PositiveInt = 10
  dropout_rng: Literal['threefry2x32', 'rbg'] = 'threefry2x32'

  def __post_init__(self):
    super().__post_init__()
    if (self.total_steps is None) == (self.total_epochs is None):
      raise ConfigError(
        'config.train needs one of total_steps and total_epochs; got '
        f'{self.total_steps} and {self.total_epochs}.'
      )
    for name in ('log_every', 'eval_every', 'save_every'):
      if not any(dataclasses.astuple(getattr(self, name))):
        raise ConfigError(
          f'config.train.{name} must be longer than 0; for once, at the end, '
          "give {'percent': 100}."
        )

  def get_total_steps(self, steps_per_epoch: float) -> int:
    """Returns the length of the training in steps."""
    if self.total_steps is not None:
      return self.total_steps
    assert self.total_epochs is not None  # one of both is given
    return max(round(self.total_epochs * steps_per_epoch), 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelConfig(SubConfig):
  """`config.parallel`: the devices that a training uses.

  Attributes:
    mode: 'jit' over a mesh, or 'pmap', which splits batches alone.
    data: size of the mesh axis `data`, over which batches are split; -1 for as
      many of the remaining devices as the batches divide over.
    fsdp: size of the mesh axis `fsdp`, over which batches and the state are
      split: parameters, moving averages, optimizer and frozen networks.
    tensor: size of the mesh axis `tensor`, over which the heads and the hidden
      layers of transformers are split.
  """

  mode: Literal['jit', 'pmap'] = 'jit'
  data: Literal[-1] | fields.PositiveInt = -1
  fsdp: fields.PositiveInt = 1
  tensor: fields.PositiveInt = 1

  def __post_init__(self):
    super().__post_init__()
    if self.mode == 'pmap' and self.fsdp * self.tensor > 1:
      raise ConfigError(
        "config.parallel.mode='pmap' has the whole state on each device; got "
        f"fsdp={self.fsdp} and tensor={self.tensor}. Use mode='jit'."
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(SubConfig):
  """What the configs of all tasks have in common.

  Attributes:
    task: what is trained: a module of `train.tasks`, or `<package.module>` for
      a task of one's own.
    data: the images.
    model: spec of the model; its kind is that of the task.
    optim: the optimizer.
    train: how long, and what is written.
    parallel: the devices.
    seed: of the initialisation, the order of the images and all noise.
    init_from: a run folder whose weights a new training starts from.
    init_keep: prefixes of parameter names, such as 'params/decoder', that keep
      their fresh initialisation although `init_from` is given.
  """

  task: str
  data: DataConfig
  model: Annotated[Mapping, Spec('autoencoder')]
  optim: OptimConfig
  train: TrainConfig
  parallel: ParallelConfig = ParallelConfig()
  seed: fields.Seed = 0
  init_from: str | None = None
  init_keep: tuple[str, ...] = ()
