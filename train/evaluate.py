"""Evaluates a run on images: `python -m train.evaluate RUN --source SOURCE`.

A trained or converted run is evaluated as in its training: an autoencoder by
its reconstructions and its codebook, a prior by likelihoods, with the same
images.
"""

import argparse
import json
import os
import pathlib
import sys
from typing import Any

import vq_jax
from train import datasets
from train import errors
from train import evaluation
from train import sharding
from train import tasks
from train.tasks import checks
from vq_jax import data
from vq_jax.config import parse
from vq_jax.config import schema
from vq_jax.model import Model
from vq_jax.utils import cpu
from vq_jax.utils import images
from vq_jax.utils import paths


def evaluate(
  folder: str | os.PathLike, changes: dict[str, Any], *, num_images: int = 16
) -> evaluation.Evaluation:
  """Evaluates the latest checkpoint of a run.

  Args:
    folder: the run, as `vq_jax.load` takes it; nothing in it is changed.
    changes: fields of the config section `data` that differ from the run's.
    num_images: number of images in an image grid.

  Returns:
    The metrics and image grids.

  Raises:
    RunError: if it is not a run folder.
    ConfigError: if the images do not fit the run.
    DataError: if they cannot be read.
  """
  model = vq_jax.load(folder)
  config = model.config
  data_config = parse.from_dict(
    schema.DataConfig,
    {
      'eval_batch_size': 64,
      'channels': model.info.image_shape[-1],
      **config['data'],
      **changes,
    },
    'config.data',
  )
  cpu.use_cpu_cores(data_config.eval_batch_size)
  runner = sharding.make_runner(
    schema.ParallelConfig(), batch_sizes=(data_config.eval_batch_size,)
  )
  source, batches = datasets.open_eval_batches(data_config, runner)
  task = tasks.get_task_module(config['task']).load_task(model)
  if task.trained != 'autoencoder':
    _check_source(model, source, batches)
  _check_classes(folder, model, source)
  evaluator = evaluation.Evaluator(task, batches, runner, num_images)
  return evaluator({**task.frozen, task.trained: model.variables[task.trained]})


def _check_source(
  model: Model, source: data.Source, batches: data.EvalBatches
) -> None:
  """Raises ConfigError if the examples do not fit the tokenizer of a prior."""
  checks.check_tokens(model, source)
  if not isinstance(source, data.TokenSource):
    image_shape = datasets.first_images(batches, 1).shape[1:]
    checks.check_image_shape(model, image_shape)


def _check_classes(
  folder: str | os.PathLike, model: Model, source: data.Source
) -> None:
  """Raises ConfigError if a conditional prior knows other classes."""
  known, found = model.info.class_names, source.class_names
  conditional = model.vocab is not None and model.vocab.num_classes
  if conditional and not checks.have_same_classes(known, found):
    raise schema.ConfigError(
      f'{folder} is a prior of {len(known)} classes, and {source.name} has '
      f'{len(found)}; they are not the same, or not in the same order.'
    )


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='python -m train.evaluate',
    description='Evaluate a run, trained or converted, on held-out images.',
    epilog='Options that are not given have the values of the run.',
  )
  parser.add_argument('folder', metavar='RUN')
  parser.add_argument(
    '--source', help='tfds:<name>, folder:<path>, npz:<path> or tokens:<path>'
  )
  parser.add_argument(
    '--split', dest='eval_split', help="for example 'test' or 'train[95%%:]'"
  )
  parser.add_argument(
    '--limit', dest='eval_limit', type=int, help='number of images'
  )
  parser.add_argument('--batch-size', dest='eval_batch_size', type=int)
  parser.add_argument('--data-dir', help='folder of the data sets of TFDS')
  parser.add_argument(
    '--out', type=pathlib.Path, help='folder for metrics.json and image grids'
  )
  arguments = vars(parser.parse_args(argv))
  folder, out = arguments.pop('folder'), arguments.pop('out')

  def run():
    changes = {k: v for k, v in arguments.items() if v is not None}
    found = evaluate(folder, changes)
    for name, value in found.metrics.items():
      print(f'{name:24} {value:.5g}')
    if out is None:
      return
    for name, grid in found.images.items():
      images.save_image(out / f'{name}.png', grid)
    text = json.dumps(found.metrics, indent=2) + '\n'
    paths.write_text(out / 'metrics.json', text)
    print(f'Wrote metrics and {len(found.images)} image grid(s) to {out}.')

  return errors.run_with_error_messages(run)


if __name__ == '__main__':
  sys.exit(main())
