"""The images of a run: both splits, checked against each other, in batches."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from train import config as config_lib
from train import settings as settings_lib
from train import sharding
from train import tasks
from vq_jax import data
from vq_jax.config import registry
from vq_jax.data import preprocessing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Datasets:
  """The images of a run.

  Attributes:
    train: source of training images.
    eval_batches: of held-out images.
    settings: section `data`.
    facts: what `config.json` tells of them.
  """

  train: data.Source
  eval_batches: data.EvalBatches
  settings: settings_lib.Data
  facts: dict[str, Any]


def open_both(card: settings_lib.Card, runner: sharding.JitRunner) -> Datasets:
  """Opens both splits, in memory where they fit.

  Raises:
    DataError: if they cannot be read.
    ConfigError: if batches do not divide over the devices, or classes or the
      shapes of images differ between both.
  """
  settings = config_lib.section(settings_lib.Data, 'data', card.data)
  sharding.check_batch('batch_size', settings.batch_size, runner)
  sharding.check_batch('eval_batch_size', settings.eval_batch_size, runner)

  def source(split):
    found = data.open_source(
      settings.source,
      split,
      data_dir=settings.data_dir,
      channels=settings.channels,
      max_unreadable=settings.max_unreadable,
    )
    fits = settings.in_memory and data.fits_in_memory(found)
    return data.in_memory(found) if fits else found

  train, held_out = source(settings.train_split), source(settings.eval_split)
  if held_out.class_names != train.class_names:
    raise settings_lib.ConfigError(
      f'{train.name} and {held_out.name} must have the same classes; got '
      f'{_listed(train.class_names)} and {_listed(held_out.class_names)}.'
    )
  eval_batches = data.eval_batches(
    held_out,
    batch_size=settings.eval_batch_size,
    preprocess=registry.preprocess(settings.eval_preprocess),
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    limit=settings.eval_limit,
  )
  if isinstance(train, data.TokenSource):
    shape = train.record['image_shape']
  else:
    shape = tasks.first_images(eval_batches, 1).shape[1:]
    _check_train_shape(train, settings, shape)
  facts = {
    'image_shape': [int(s) for s in shape],
    'num_classes': train.num_classes,
    'class_names': list(train.class_names),
  }
  return Datasets(
    train=train, eval_batches=eval_batches, settings=settings, facts=facts
  )


def _listed(names: Sequence[str]) -> str:
  more = ', ...' if len(names) > 5 else ''
  return f'{len(names)} ({", ".join(names[:5])}{more})'


def _check_train_shape(
  train: data.Source, settings: settings_lib.Data, shape: tuple[int, ...]
) -> None:
  """Raises ConfigError unless images to learn from have the shape of others."""
  # The first that can be read: there may be some that cannot.
  (image,) = tasks.first_images(data.eval_batches(train, batch_size=1), 1)
  image = preprocessing.apply(
    registry.preprocess(settings.train_preprocess),
    image,
    np.random.default_rng(0),
  )
  if image.shape != shape:
    raise settings_lib.ConfigError(
      f'config.data.train_preprocess makes images {image.shape}, and '
      f'config.data.eval_preprocess {tuple(shape)}; they must have one shape.'
    )


def train_batches(datasets: Datasets, seed: int, runner: sharding.JitRunner):
  """Starts the endless, shuffled batches, put on the devices ahead of time."""
  settings = datasets.settings
  return data.train_batches(
    datasets.train,
    batch_size=settings.batch_size,
    seed=seed,
    preprocess=registry.preprocess(settings.train_preprocess),
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    workers=settings.workers,
    prefetch=settings.prefetch,
    transfer=runner.transfer,
  )
