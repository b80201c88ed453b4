"""Evaluates a run on images: `python -m train.evaluate RUN --source SOURCE`.

Trained or converted, by what training evaluates: reconstructions and codebook
for an autoencoder, likelihoods for a prior, and the same pictures.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

from train import config as config_lib
from train import datasets as datasets_lib
from train import intervals
from train import main as main_lib
from train import prior_tasks
from train import run
from train import settings as settings_lib
from train import sharding
from vq_jax import checkpoints
from vq_jax.utils import images
from vq_jax.utils import paths

# What no evaluation reads, or a converted run does not know.
_SECTIONS = {'loss': {}, 'optim': {'learning_rate': 0.0}}
_OWN_COPIES = {
  'prior': {'autoencoder': ''},
  'token_critic': {'generator': ''},
}


def evaluate(
  folder: pathlib.Path, changes: dict[str, Any], *, pictures: int = 16
) -> tuple[dict[str, float], dict[str, Any]]:
  """Evaluates the latest checkpoint of a run.

  Args:
    folder: the run folder; nothing in it is changed.
    changes: keys of section `data` of its card that are other than there.
    pictures: images in a grid.

  Returns:
    The metrics, and pictures by name.

  Raises:
    RunError: if it is no run.
    ConfigError: if the images are not such as the run knows.
    DataError: if they cannot be read.
  """
  config = checkpoints.read_config(folder)
  card = config['card']
  data = {
    'eval_split': 'test',
    'eval_batch_size': 64,
    'channels': config['data']['image_shape'][-1],
    **card['data'],
    **changes,
  }
  # The images to learn from are not needed, but opened.
  data['train_split'] = data['eval_split']
  data['train_preprocess'] = data.get('eval_preprocess', ())
  data['batch_size'] = data['eval_batch_size']
  parsed = config_lib.parse_card(
    {
      **_SECTIONS,
      **_OWN_COPIES.get(card['task'], {}),
      **card,
      **({'adversary': None} if card['task'] == 'autoencoder' else {}),
      'data': data,
      'parallel': {},
      'train': {'duration': {'steps': 1}, 'pictures': pictures},
    }
  )
  sharding.use_cpu_cores(data['eval_batch_size'])
  runner = sharding.make_runner(settings_lib.Parallel())
  datasets = datasets_lib.open_both(parsed, runner)
  known, found = (
    facts['class_names'] for facts in (config['data'], datasets.facts)
  )
  if config.get('labels', {}).get(
    'num_classes'
  ) and not prior_tasks.same_classes(known, found):
    raise settings_lib.ConfigError(
      f'{folder} is a prior of {len(known)} classes, and {data["source"]} has '
      f'{len(found)}; they are not the same, or not in the same order.'
    )
  plan = intervals.Intervals.create(
    settings_lib.Train(**parsed.train), steps_per_epoch=1
  )
  task = run.make_task(parsed, folder, config, datasets, runner, plan)
  variables, _ = checkpoints.load_variables(folder)
  result = task.evaluate(variables)
  return dict(result.metrics), dict(result.pictures)


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='python -m train.evaluate',
    description='Evaluate a run, trained or converted, on held-out images.',
    epilog='What is not given is as the run was configured.',
  )
  parser.add_argument('folder', type=pathlib.Path, metavar='RUN')
  parser.add_argument(
    '--source', help='tfds:<name>, folder:<path>, npz:<path> or tokens:<path>'
  )
  parser.add_argument(
    '--split', dest='eval_split', help="e.g. 'test' or 'train[95%%:]'"
  )
  parser.add_argument('--limit', dest='eval_limit', type=int, help='of images')
  parser.add_argument('--batch-size', dest='eval_batch_size', type=int)
  parser.add_argument('--data-dir', help='where TFDS keeps its data sets')
  parser.add_argument(
    '--out', type=pathlib.Path, help='a folder for metrics.json and pictures'
  )
  arguments = vars(parser.parse_args(argv))
  folder, out = arguments.pop('folder'), arguments.pop('out')

  def go():
    metrics, pictures = evaluate(
      folder, {k: v for k, v in arguments.items() if v is not None}
    )
    for name, value in metrics.items():
      print(f'{name:24} {value:.5g}')
    if out is None:
      return
    for name, picture in pictures.items():
      images.save_image(out / f'{name}.png', picture)
    paths.write_text(out / 'metrics.json', json.dumps(metrics, indent=2) + '\n')
    print(f'metrics and {len(pictures)} picture(s) in {out}')

  return main_lib.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
