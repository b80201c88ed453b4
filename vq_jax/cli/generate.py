"""`vqjax generate`: new images, and how they develop."""

import argparse
from collections.abc import Callable
from collections.abc import Iterator

import jax
import numpy as np

import vq_jax
from vq_jax import samplers
from vq_jax.cli import sampling
from vq_jax.inference import labels as labels_lib
from vq_jax.inference import validate
from vq_jax.runs import locations
from vq_jax.utils import devices
from vq_jax.utils import images
from vq_jax.workflows import classifier_scores


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'generate',
    'Generate images with a prior or a VAE.',
    run,
    example='vqjax generate fashion --labels 3,7 --num 16 --guidance 2',
  )
  parser.add_argument(
    'folder', metavar='RUN', help='The run folder of a prior or a VAE.'
  )
  parser.add_argument(
    '--labels',
    metavar='3,7',
    help='The classes, by number from 0 or by name; name:7 is the class that '
    'is called 7. They are repeated until there are --num images. By default '
    'all classes are used in turn.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--num', type=int, default=16, help='The number of images.'
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='The seed of the random numbers.'
  )
  parser.add_argument(
    '--batch-size',
    type=int,
    default=100,
    help='The number of images in a batch.',
  )
  sampling.add(parser)
  parser.add_argument(
    '--acceptance-rate',
    type=float,
    metavar='FRACTION',
    help='The fraction of images that is kept by rejection sampling: those '
    'whose class is most certain to a classifier. The classifier is fitted to '
    'the data of the run and kept in the run folder.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--gif',
    metavar='FILE',
    help='An animation to write, with the images after each step.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--out', default='samples.png', help='The image file to write.'
  )


def run(arguments) -> None:
  """Runs the command."""
  validate.check_num(arguments.num, '--num')
  devices.initialize_distributed()
  model = vq_jax.load(arguments.folder)
  sampling.check_files(arguments, model.info.image_shape[-1])
  labels = _find_labels(model, arguments)
  generated: np.ndarray | jax.Array
  if model.prior is None:
    if sampling.options_from(arguments):
      raise ValueError('a VAE has no sampling options; leave them out.')
    generated = model.generate(arguments.seed, labels=labels, num=arguments.num)
  elif 'acceptance_rate' in arguments:
    generated = _generate_accepted(model, arguments, labels)
  else:
    generated = _generate(model, arguments, labels)
  if jax.process_index() > 0:
    return
  images.save_image(
    arguments.out, images.grid(generated), comment=arguments.command_line
  )
  print(f'{images.count(len(generated))} in {arguments.out}')


def _find_labels(model: vq_jax.Model, arguments) -> np.ndarray | None:
  """Returns the class of each image, or None if no classes were given."""
  if 'labels' not in arguments:
    return None
  names = model.info.class_names
  found = sampling.find_classes(arguments.labels, names)
  if not found:
    raise ValueError('--labels needs at least one class, such as 3,7.')
  numbers = labels_lib.class_indices(found, len(names), names)
  return np.resize(numbers, arguments.num)


def _generate(
  model: vq_jax.Model, arguments, labels: np.ndarray | None
) -> np.ndarray:
  """Samples the images on all processes; writes the animation of --gif."""
  gif, num = 'gif' in arguments, arguments.num
  rows = devices.split_over_processes(num)
  batches = list(_batches(model, arguments, labels, num, rows, trace=gif))
  generated = devices.gather_from_processes(np.concatenate(batches), num)
  if not gif or jax.process_index() > 0:
    return generated[:, -1] if gif else generated
  frames = [images.grid(frame) for frame in np.swapaxes(generated, 0, 1)]
  images.save_animation(arguments.gif, np.stack(frames))
  print(f'{len(frames)} steps in {arguments.gif}')
  return generated[:, -1]


def _generate_accepted(
  model: vq_jax.Model, arguments, labels: np.ndarray | None
) -> np.ndarray:
  """Samples candidates and keeps the best by a classifier."""
  labels, _ = labels_lib.for_generation(labels, arguments.num, model.pipeline())
  if labels is None or 'gif' in arguments:
    raise ValueError(
      '--acceptance-rate keeps the images in which a classifier sees their '
      'class: it needs a prior with classes, and goes without --gif.'
    )
  candidates = samplers.rejection.candidate_labels(
    labels, arguments.acceptance_rate
  )
  score = classifier_scores.fit_scores(
    model, locations.get_output_folder(arguments.folder) / 'classifier'
  )
  batches = _batches(model, arguments, candidates, len(candidates))
  return samplers.rejection_sample(
    lambda start, part: np.asarray(next(batches)),
    score,
    labels,
    arguments.acceptance_rate,
    batch_size=min(arguments.batch_size, len(candidates)),
  )


def _batches(
  model: vq_jax.Model,
  arguments,
  labels: np.ndarray | None,
  num: int,
  rows: range | None = None,
  trace: bool = False,
) -> Iterator[np.ndarray]:
  """Samples batches over all devices, with a progress bar."""
  import tqdm

  with tqdm.tqdm(
    total=num if rows is None else len(rows),
    unit=' images',
    delay=1,
    leave=False,
    disable=True if jax.process_index() else None,
  ) as bar:
    for part in model.generate_batches(
      arguments.seed,
      labels=labels,
      num=num,
      sampler=sampling.samplers_from(arguments, model),
      batch_size=arguments.batch_size,
      sharding=devices.batch_sharding(),
      rows=rows,
      trace=trace,
    ):
      yield np.asarray(part)
      bar.update(len(part))
