"""The sections of a config card, as frozen dataclasses.

A card reaches the code as keywords of these (or of modules, by
`vq_jax.config.registry`), so that a key which nothing reads cannot pass.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated
from typing import Literal

from vq_jax.utils import fields

_Decay = Annotated[float, fields.Range(least=0, most=1 - 1e-9)]


class ConfigError(ValueError):
  """A card, a key of it or a value is wrong."""


class Section:
  """A section of a card, which checks the values of its fields."""

  def __post_init__(self):
    fields.check(self, error=ConfigError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duration(Section):
  """A length of training; exactly one field is given.

  Attributes:
    steps: optimizer steps.
    epochs: passes over the training examples.
    percent: of the whole training.
  """

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

  def resolve(self, *, steps_per_epoch: float, total: int | None) -> int:
    """Returns the duration in steps; `total` is the whole training."""
    if self.steps is not None:
      return int(self.steps)
    if self.epochs is not None:
      return round(self.epochs * steps_per_epoch)
    if total is None:
      raise ConfigError('the whole training cannot be a percentage of itself.')
    return round(self.percent / 100 * total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Section):
  """Section `data`.

  Attributes:
    source: `tfds:<name>`, `folder:<path>` or `npz:<file>`.
    train_split: e.g. 'train' or 'train[:95%]'.
    eval_split: e.g. 'test' or 'train[95%:]'.
    data_dir: where TFDS keeps its data sets; None for its default.
    channels: 1 or 3 converts the images; None takes them as they are.
    batch_size: of all devices together.
    eval_batch_size: likewise, in evaluation.
    eval_limit: evaluate on so many examples only; None for all.
    train_preprocess: specs of preprocessing operations.
    eval_preprocess: likewise; none may be random.
    in_memory: decode everything once, if it fits.
    workers: processes that read; 0 reads in a thread.
    prefetch: batches put on the devices ahead of time.
    max_unreadable: unreadable images that are skipped before the run stops.
  """

  source: str
  train_split: str = 'train'
  eval_split: str = 'test'
  data_dir: str | None = None
  channels: Literal[1, 3] | None = None
  batch_size: fields.PositiveInt = 256
  eval_batch_size: fields.PositiveInt = 256
  eval_limit: fields.PositiveInt | None = None
  train_preprocess: tuple = ()
  eval_preprocess: tuple = ()
  in_memory: bool = True
  workers: Annotated[int, fields.Range(least=0, most=1024)] = 0
  prefetch: Annotated[int, fields.Range(least=0, most=1024)] = 2
  max_unreadable: fields.NonNegativeInt = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optim(Section):
  """Section `optim`: AdamW.

  Attributes:
    learning_rate: the peak.
    schedule: after the warm-up: 'constant', 'cosine' or 'linear'.
    warmup: duration of a linear warm-up from 0.
    final_scale: the last learning rate as a fraction of the peak.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    weight_decay: decoupled; scaled by the learning rate.
    decay_names: names of the parameters that decay.
    only: names of the model's parts that are trained, such as 'decoder'; () for
      all. The others, and codebooks of moving averages, stay as they are.
    clip_norm: global norm to which gradients are clipped; None for none.
    ema_decay: of averaged parameters, which evaluation and sampling use. It
      ramps up as min(decay, (1 + t) / (10 + t)). None keeps no average.
    accumulate: the batch is split into so many parts whose gradients are
      averaged, to save memory.
  """

  learning_rate: fields.NonNegativeFloat
  schedule: Literal['constant', 'cosine', 'linear'] = 'cosine'
  warmup: Mapping = dataclasses.field(default_factory=lambda: {'steps': 0})
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train(Section):
  """Section `train`: how long, and what is written how often.

  Attributes:
    duration: of the whole training.
    log_every: duration between lines of metrics.
    eval_every: duration between evaluations (one is made at the end, too).
    save_every: duration between checkpoints (likewise).
    keep: how many of the latest checkpoints stay.
    pictures: images in a grid.
  """

  duration: Mapping
  log_every: Mapping = dataclasses.field(default_factory=lambda: {'steps': 100})
  eval_every: Mapping = dataclasses.field(
    default_factory=lambda: {'percent': 25}
  )
  save_every: Mapping = dataclasses.field(
    default_factory=lambda: {'percent': 25}
  )
  keep: fields.PositiveInt = 2
  pictures: Annotated[int, fields.Range(least=1, most=4096)] = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parallel(Section):
  """Section `parallel`.

  Attributes:
    mode: 'jit' over a mesh, or 'pmap'.
    data: size of the mesh axis `data`; -1 for as many of the devices that are
      left as the batches divide over.
    fsdp: size of the mesh axis `fsdp`. Batches are split over both axes.
  """

  mode: Literal['jit', 'pmap'] = 'jit'
  data: Literal[-1] | fields.PositiveInt = -1
  fsdp: fields.PositiveInt = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card(Section):
  """The sections of every card; of one with `task = 'vae'` there are no others.

  Attributes:
    task: what is learned, see `train.config.CARDS`.
    seed: of the order of the data, the initialisation and all randomness; in
      [0, 2^32).
    data: see `Data`.
    model: spec of a model; see `vq_jax.config.registry`.
    loss: see `Loss` in `train.steps.autoencoder`, `vae`, `masked` and so on.
    optim: see `Optim`.
    train: see `Train`.
    parallel: see `Parallel`.
    init_from: a run folder whose weights a new run starts from.
    init_keep: prefixes of names ('params/decoder') that `init_from` leaves.
  """

  task: str
  data: Mapping
  model: Mapping
  loss: Mapping
  optim: Mapping
  train: Mapping
  parallel: Mapping = dataclasses.field(default_factory=dict)
  seed: fields.Seed = 0
  init_from: str | None = None
  init_keep: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderCard(Card):
  """The sections of a card with `task = 'autoencoder'`, beside the first.

  Attributes:
    adversary: see `train.adversary.Settings`; None for no discriminator.
  """

  adversary: Mapping | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorCard(Card):
  """The sections of a card with `task = 'prior'`, beside the first.

  Attributes:
    autoencoder: the run folder of a trained autoencoder.
    conditional: whether the prior learns the classes of the data.
    sampling: see `vq_jax.samplers.MaskGITSampler` and
      `AutoregressiveSampler`.
    level: which grid of the autoencoder's codes; 0 is the coarsest.
    coarser: the run folder of the prior of the next coarser level, if there is
      one.
  """

  autoencoder: str
  conditional: bool = True
  sampling: Mapping = dataclasses.field(default_factory=dict)
  level: fields.NonNegativeInt = 0
  coarser: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if bool(self.level) != (self.coarser is not None):
      raise ConfigError(
        'config.coarser is the run of the prior of the next coarser level: '
        'needed with config.level > 0, None at level 0; got level '
        f'{self.level} and coarser {self.coarser!r}.'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CriticCard(Card):
  """The sections of a card with `task = 'token_critic'`, beside the first.

  Attributes:
    generator: the run folder of a trained MaskGIT.
    sampling: see `vq_jax.samplers.MaskGITSampler`.
  """

  generator: str
  sampling: Mapping = dataclasses.field(default_factory=dict)
