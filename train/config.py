"""Config cards: read one, override its leaves, and turn sections into settings.

A card is a Python file with `get_config(variant='')`. Its sections reach the
code as keywords of the frozen dataclasses below (or of modules, by
`vq_jax.build`), so that a key which nothing reads cannot pass.
"""

import ast
import dataclasses
import importlib.util
import pathlib
from collections.abc import Mapping
from typing import Any
from typing import Literal
from typing import TypeVar

import ml_collections

from vq_jax import build

T = TypeVar('T')


class ConfigError(ValueError):
  """A card, a key of it or a value is wrong."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duration:
  """A length of training; exactly one field is given.

  Attributes:
    steps: optimizer steps.
    epochs: passes over the training examples.
    percent: of the whole training.
  """

  steps: int | None = None
  epochs: float | None = None
  percent: float | None = None

  def __post_init__(self):
    given = [v for v in dataclasses.astuple(self) if v is not None]
    if len(given) != 1 or given[0] < 0:
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
class Data:
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
  channels: int | None = None
  batch_size: int = 256
  eval_batch_size: int = 256
  eval_limit: int | None = None
  train_preprocess: tuple = ()
  eval_preprocess: tuple = ()
  in_memory: bool = True
  workers: int = 0
  prefetch: int = 2
  max_unreadable: int = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optim:
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
    clip_norm: global norm to which gradients are clipped; None for none.
    ema_decay: of averaged parameters, which evaluation and sampling use. It
      ramps up as min(decay, (1 + t) / (10 + t)). None keeps no average.
    accumulate: the batch is split into so many parts whose gradients are
      averaged, to save memory.
  """

  learning_rate: float
  schedule: Literal['constant', 'cosine', 'linear'] = 'cosine'
  warmup: Mapping = dataclasses.field(default_factory=lambda: {'steps': 0})
  final_scale: float = 0.0
  b1: float = 0.9
  b2: float = 0.999
  eps: float = 1e-8
  weight_decay: float = 0.0
  decay_names: tuple[str, ...] = ('kernel',)
  clip_norm: float | None = None
  ema_decay: float | None = None
  accumulate: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
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
  keep: int = 2
  pictures: int = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parallel:
  """Section `parallel`.

  Attributes:
    mode: 'jit' over a mesh, or 'pmap'.
    data: size of the mesh axis `data`; -1 for all devices that are left.
    fsdp: size of the mesh axis `fsdp`. Batches are split over both axes.
  """

  mode: Literal['jit', 'pmap'] = 'jit'
  data: int = -1
  fsdp: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderCard:
  """The sections of a card with `task = 'autoencoder'`.

  Attributes:
    task: 'autoencoder'.
    seed: of the order of the data, the initialisation and all randomness.
    data: see `Data`.
    model: spec of an autoencoder; see `vq_jax.build`.
    loss: see `train.steps.autoencoder.Loss`.
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
  seed: int = 0
  init_from: str | None = None
  init_keep: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorCard(AutoencoderCard):
  """The sections of a card with `task = 'prior'`, beside those above.

  Attributes:
    autoencoder: the run folder of a trained autoencoder.
    conditional: whether the prior learns the classes of the data.
    sampling: see `vq_jax.model.Sampling`.
  """

  autoencoder: str
  conditional: bool = True
  sampling: Mapping = dataclasses.field(default_factory=dict)


CARDS = {'autoencoder': AutoencoderCard, 'prior': PriorCard}


def parse_card(config: Mapping[str, Any]) -> AutoencoderCard:
  """Turns a plain card into its dataclass; sections stay mappings.

  Raises:
    ConfigError: if the task or a key is unknown.
  """
  task = config.get('task')
  if task not in CARDS:
    raise ConfigError(build.unknown('config.task', task, CARDS))
  return settings(CARDS[task], '', config)


# What may differ between the parts of one run: where it computes and how its
# bytes travel, not what it computes.
FREE_TO_CHANGE = (
  'parallel',
  'data.workers',
  'data.prefetch',
  'data.data_dir',
  'data.in_memory',
  'data.max_unreadable',
)


def settings(cls: type[T], section: str, values: Mapping[str, Any]) -> T:
  """Returns `cls(**values)`.

  Raises:
    ConfigError: if a key is unknown or missing; lists the valid ones.
  """
  where = f'config.{section}' if section else 'config'
  fields = {field.name: field for field in dataclasses.fields(cls)}
  for key in values:
    if key not in fields:
      raise ConfigError(build.unknown(f'key of {where}', key, fields))
  for name, field in fields.items():
    required = (
      field.default is dataclasses.MISSING
      and field.default_factory is dataclasses.MISSING
    )
    if required and name not in values:
      raise ConfigError(f'{where} needs the key {name!r}.')
  return cls(**values)


def load_card(path: str) -> ml_collections.ConfigDict:
  """Loads a card from `file.py` or `file.py:variant`.

  Raises:
    ConfigError: if the file is no card or knows no such variant.
  """
  file, _, variant = path.partition(':')
  if not pathlib.Path(file).is_file():
    folder = pathlib.Path(file).parent
    there = sorted(p.name for p in folder.glob('*.py')) or ['nothing']
    raise ConfigError(
      f'no config card {file}. In {folder}/ there is: {", ".join(there)}.'
    )
  spec = importlib.util.spec_from_file_location('config_card', file)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise ConfigError(f"{file} is no config card: it has no 'get_config'.")
  return module.get_config(variant) if variant else module.get_config()


def override(config: ml_collections.ConfigDict, key: str, text: str) -> None:
  """Sets one leaf from the command line.

  Args:
    config: changed in place.
    key: path with dots, `optim.learning_rate`.
    text: a Python literal, or a plain string.

  Raises:
    ConfigError: if there is no such leaf or the value has another type.
  """
  *path, leaf = key.split('.')
  node = config
  for i, part in enumerate([*path, leaf]):
    if not isinstance(node, ml_collections.ConfigDict) or part not in node:
      where = '.'.join(['config', *path[:i]])
      names = list(node) if isinstance(node, ml_collections.ConfigDict) else []
      raise ConfigError(build.unknown(f'key of {where}', part, names))
    if i < len(path):
      node = node[part]
  node[leaf] = _parse(key, text, node[leaf])


def _parse(key: str, text: str, old: Any) -> Any:
  if isinstance(old, str):
    return text
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    value = text
  if isinstance(old, float) and type(value) is int:
    value = float(value)
  if isinstance(old, tuple) and isinstance(value, list):
    value = tuple(value)
  wanted = dict if isinstance(old, ml_collections.ConfigDict) else type(old)
  if old is not None and value is not None and type(value) is not wanted:
    raise ConfigError(
      f'config.{key} is of type {wanted.__name__} ({old!r}); got {text!r}.'
    )
  return ml_collections.ConfigDict(value) if wanted is dict else value


def differences(old: Any, new: Any, prefix: str = '') -> list[str]:
  """Lists the leaves in which two plain configs differ, but for free ones."""
  if prefix in FREE_TO_CHANGE:
    return []
  if isinstance(old, Mapping) and isinstance(new, Mapping):
    lines = []
    for key in sorted({*old, *new}):
      path = f'{prefix}.{key}' if prefix else key
      lines += differences(old.get(key), new.get(key), path)
    return lines
  return [] if old == new else [f'  {prefix}: {old!r} there, {new!r} here']
