"""`vqjax generate`: new images, as a picture or as they take shape."""

import argparse
from collections.abc import Callable

from vq_jax.cli import sampling


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run) -> the parser of a new one.
  """
  parser = command(
    commands, 'generate', 'Draw new images with a prior, or with a VAE.', run
  )
  parser.add_argument('folder', metavar='RUN', help='run folder of a prior')
  parser.add_argument(
    '--labels',
    metavar='3,7',
    help='classes, by number from 0 or by name (name:7 for a class called 7); '
    'they are repeated in turn until there are --num images (default: all '
    'classes)',
    default=argparse.SUPPRESS,
  )
  parser.add_argument('--num', type=int, default=16, help='how many images')
  parser.add_argument('--seed', type=int, default=0, help='of the randomness')
  parser.add_argument(
    '--batch-size', type=int, default=100, help='images made at a time'
  )
  sampling.add(parser)
  parser.add_argument(
    '--acceptance-rate',
    type=float,
    metavar='FRACTION',
    help='draw more images, of which this fraction is kept: those a classifier '
    "is surest of. It is fitted to the run's data, and kept in the run",
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--gif',
    metavar='FILE',
    help='also write how the images take shape',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--out', default='samples.png', help='the picture to write'
  )


def run(arguments) -> None:
  """Runs the command."""
  import numpy as np

  import vq_jax
  from vq_jax import checks
  from vq_jax import class_labels
  from vq_jax.utils import images

  checks.checked_num(arguments.num, '--num')
  model = vq_jax.load(arguments.folder)
  channels = model.config['data']['image_shape'][-1]
  sampling.check_files(arguments, channels)
  labels, names = None, model.config['data']['class_names']
  if 'labels' in arguments:
    found = sampling.find_classes(arguments.labels, names)
    if not found:
      raise ValueError('--labels needs at least one class, such as 3,7.')
    numbers = class_labels.indices(found, len(names), names)
    labels = np.resize(numbers, arguments.num)
  options = sampling.options_from(arguments)
  if model.prior is None:
    made = model.generate(
      arguments.seed, labels=labels, num=arguments.num, **options
    )
  elif 'acceptance_rate' in arguments:
    labels, _ = class_labels.from_request(labels, arguments.num, model)
    made = _accepted(model, arguments, labels, options)
  else:
    made = _drawn(model, arguments, labels, options)
  images.save_image(
    arguments.out, images.grid(made), comment=arguments.command_line
  )
  print(f'{len(made)} images in {arguments.out}')


def _drawn(model, arguments, labels, options):
  """Draws the images, and with --gif how they take shape."""
  import numpy as np

  from vq_jax.utils import images

  gif = 'gif' in arguments
  batches = _batches(
    model, arguments, labels, arguments.num, trace=gif, **options
  )
  made = np.concatenate(list(batches))
  if not gif:
    return made
  frames = [images.grid(frame) for frame in np.swapaxes(made, 0, 1)]
  images.save_animation(arguments.gif, np.stack(frames))
  print(f'{len(frames)} steps in {arguments.gif}')
  return made[:, -1]


def _accepted(model, arguments, labels, options):
  """Draws more images than asked for, and keeps the best by a classifier."""
  import numpy as np

  from vq_jax import samplers

  if labels is None or 'gif' in arguments:
    raise ValueError(
      '--acceptance-rate keeps the images in which a classifier sees the class '
      'asked for: it needs a prior with classes, and goes without --gif.'
    )
  candidates = samplers.rejection.candidate_labels(
    labels, arguments.acceptance_rate
  )
  score = _class_scores(model, arguments.folder)
  batches = iter(
    _batches(model, arguments, candidates, len(candidates), **options)
  )
  return samplers.rejection_sample(
    lambda start, part: np.asarray(next(batches)),
    score,
    labels,
    arguments.acceptance_rate,
    batch_size=min(arguments.batch_size, len(candidates)),
  )


def _class_scores(model, folder):
  """Returns (images, labels) -> the log-probability of the label: [B]."""
  import pathlib

  import jax
  import numpy as np

  from vq_jax import data
  from vq_jax.config import registry
  from vq_jax.metrics import classifier as classifier_lib

  card = model.config['card']['data']
  batches = data.open_eval_batches(
    card['source'],
    card['train_split'],
    data_dir=card.get('data_dir'),
    channels=model.config['data']['image_shape'][-1],
    preprocess=registry.preprocess(card.get('eval_preprocess', ())),
  )
  classifier = classifier_lib.load_or_fit(
    *batches.to_arrays(),
    batches.source.num_classes,
    cache_dir=pathlib.Path(folder) / 'classifier',
  )

  def score(images, labels):
    logits, _ = classifier(images)
    log_p = np.asarray(jax.nn.log_softmax(logits))
    return log_p[np.arange(len(labels)), labels]

  return score


def _batches(model, arguments, labels, num, **options):
  """Draws over all devices, and shows progress."""
  import tqdm

  from vq_jax.utils import devices

  size = min(arguments.batch_size, max(num, 1))
  with tqdm.tqdm(
    total=num, unit=' images', delay=1, leave=False, disable=None
  ) as bar:
    for part in model.generate_batches(
      arguments.seed,
      labels=labels,
      num=num,
      batch_size=size,
      sharding=devices.batch_sharding(size) if size > 0 else None,
      **options,
    ):
      yield part
      bar.update(len(part))
