"""The examples of a run: both splits, checked and in batches."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from train import sharding
from vq_jax import data
from vq_jax.config import registry
from vq_jax.config import schema
from vq_jax.data import preprocessing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Datasets:
  """The examples of a run.

  Attributes:
    train: source of the training examples.
    eval_batches: batches of held-out examples.
    config: the config section `data`.
    facts: what `config.json` says about them: `image_shape`, `num_classes` and
      `class_names`.
  """

  train: data.Source
  eval_batches: data.EvalBatches
  config: schema.DataConfig
  facts: dict[str, Any]

  @property
  def steps_per_epoch(self) -> float:
    """Number of steps in which every training example is seen once."""
    return len(self.train) / self.config.batch_size


def open_datasets(
  config: schema.DataConfig, runner: sharding.JitRunner
) -> Datasets:
  """Opens both splits, in memory where they fit.

  Args:
    config: the config section `data`.
    runner: the devices.

  Raises:
    DataError: if they cannot be read.
    ConfigError: if batches do not divide over the devices, or the classes or
      the shapes of images differ between both.
  """
  _check_batch_size('batch_size', config.batch_size, runner)
  train = _open_split(config, config.train_split)
  held_out, eval_batches = open_eval_batches(config, runner)
  if held_out.class_names != train.class_names:
    raise schema.ConfigError(
      f'{train.name} and {held_out.name} must have the same classes; got '
      f'{_list_names(train.class_names)} and '
      f'{_list_names(held_out.class_names)}.'
    )
  if isinstance(train, data.TokenSource):
    shape = train.record['image_shape']
  else:
    shape = first_images(eval_batches, 1).shape[1:]
    _check_train_shape(train, config, shape)
  facts = {
    'image_shape': [int(s) for s in shape],
    'num_classes': train.num_classes,
    'class_names': list(train.class_names),
  }
  return Datasets(
    train=train, eval_batches=eval_batches, config=config, facts=facts
  )


def open_eval_batches(
  config: schema.DataConfig, runner: sharding.JitRunner
) -> tuple[data.Source, data.EvalBatches]:
  """Opens the held-out split alone.

  Args:
    config: the config section `data`.
    runner: the devices.

  Returns:
    the source, and its batches.

  Raises:
    DataError: if it cannot be read.
    ConfigError: if batches do not divide over the devices.
  """
  _check_batch_size('eval_batch_size', config.eval_batch_size, runner)
  source = _open_split(config, config.eval_split)
  batches = data.eval_batches(
    source,
    batch_size=config.eval_batch_size,
    preprocess=registry.preprocess(config.eval_preprocess),
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    limit=config.eval_limit,
  )
  return source, batches


def _check_batch_size(name: str, size: int, runner: sharding.JitRunner) -> None:
  """Raises ConfigError unless a batch divides over the devices."""
  if size % runner.batch_parts:
    raise schema.ConfigError(
      f'config.data.{name}={size} must be a multiple of the '
      f'{runner.batch_parts} devices over which batches are split.'
    )


def _open_split(config: schema.DataConfig, split: str) -> data.Source:
  source = data.open_source(
    config.source,
    split,
    data_dir=config.data_dir,
    channels=config.channels,
    max_unreadable=config.max_unreadable,
  )
  fits = config.in_memory and data.fits_in_memory(source)
  return data.in_memory(source) if fits else source


def first_images(batches: data.EvalBatches, num: int) -> np.ndarray:
  """Returns the first images that can be read, uint8 [num, H, W, C]."""
  found = []
  for batch in batches:
    found.extend(batch['image'][batch['mask']])
    if len(found) >= num:
      break
  return np.stack(found[:num])


def _list_names(names: Sequence[str]) -> str:
  more = ', ...' if len(names) > 5 else ''
  return f'{len(names)} ({", ".join(names[:5])}{more})'


def _check_train_shape(
  train: data.Source, config: schema.DataConfig, shape: tuple[int, ...]
) -> None:
  """Raises ConfigError unless training images have the shape of held-out ones.

  Args:
    train: source of the training images.
    config: the config section `data`.
    shape: (H, W, C) of the held-out images.
  """
  (image,) = first_images(data.eval_batches(train, batch_size=1), 1)
  image = preprocessing.apply(
    registry.preprocess(config.train_preprocess),
    image,
    np.random.default_rng(0),
  )
  if image.shape != shape:
    raise schema.ConfigError(
      f'config.data.train_preprocess makes images {image.shape}, and '
      f'config.data.eval_preprocess {tuple(shape)}; they must have one shape.'
    )


def make_train_batches(
  datasets: Datasets, seed: int, runner: sharding.JitRunner
) -> data.TrainIterator:
  """Starts the endless, shuffled batches, put on the devices ahead of time."""
  config = datasets.config
  return data.train_batches(
    datasets.train,
    batch_size=config.batch_size,
    seed=seed,
    preprocess=registry.preprocess(config.train_preprocess),
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    workers=config.workers,
    prefetch=config.prefetch,
    transfer=runner.transfer,
  )
