"""Trains both stages: `python -m train.quickstart --workdir runs/quickstart`.

Trains a tokenizer and then a prior on the embedded Fashion-MNIST, with the
configs `quickstart_tokenizer` and `quickstart_maskgit`, samples images, and
evaluates them:

    WORKDIR/tokenizer/     the tokenizer's run
    WORKDIR/maskgit/       the prior's run, for `vq_jax.load`
    WORKDIR/samples.png    ten samples of each class
    WORKDIR/summary.json   the metrics

After an interruption, the same command resumes; `seconds` in the summary is
then the time of its last part.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np

import vq_jax
from train import config as config_lib
from train import errors
from train import loop
from vq_jax import data
from vq_jax import metrics
from vq_jax.metrics import classifier as classifier_lib
from vq_jax.metrics import frechet
from vq_jax.utils import devices
from vq_jax.utils import images
from vq_jax.utils import paths

CONFIGS = pathlib.Path(__file__).resolve().parent.parent / 'configs'
GENERATED = 1000


def quickstart(workdir: pathlib.Path, variant: str = '') -> dict:
  """Trains both stages and evaluates samples.

  Args:
    workdir: folder for both runs and the results.
    variant: variant of both configs; 'smoke' trains a few steps, as a test.

  Returns:
    the content of `summary.json`.
  """
  began = time.monotonic()
  tokenizer = _card('quickstart_tokenizer', variant)
  prior = _card('quickstart_maskgit', variant)
  prior.autoencoder = str(workdir / 'tokenizer')
  reconstruction = loop.train(tokenizer, workdir / 'tokenizer')
  loop.train(prior, workdir / 'maskgit')
  figures = evaluate(
    vq_jax.load(workdir / 'maskgit'),
    workdir,
    **({'generated': 20, 'epochs': 1} if variant == 'smoke' else {}),
  )
  summary = {
    'psnr': reconstruction['psnr'],
    'ssim': reconstruction['ssim'],
    'codebook_usage': reconstruction['dataset_usage'],
    'codebook_perplexity': reconstruction['dataset_perplexity'],
    **figures,
    'seconds': time.monotonic() - began,
  }
  text = json.dumps(summary, indent=2) + '\n'
  paths.write_text(workdir / 'summary.json', text)
  return summary


def _images_of(card: dict) -> list[data.ArraySource]:
  """Returns the training and the held-out images of a card."""
  return [
    data.in_memory(
      data.open_source(card['source'], split, data_dir=card['data_dir'])
    )
    for split in (card['train_split'], card['eval_split'])
  ]


def evaluate(
  model: vq_jax.Model,
  workdir: pathlib.Path,
  *,
  generated: int = GENERATED,
  epochs: int = 8,
  **sampling,
) -> dict:
  """Judges generated images by a classifier of real ones; draws the picture.

  `class_agreement` is how often the classifier takes a generated image for
  what was asked for; `frechet_distance` compares its features of generated and
  of training images. Beside them stand the figures of as many held-out real
  images, and of their reconstructions.

  Args:
    model: a class-conditional prior with its autoencoder.
    workdir: gets `samples.png`, and keeps the classifier.
    generated: how many images are judged.
    epochs: of the classifier.
    **sampling: see `vq_jax.Model.generate`.
  """
  train, test = _images_of(model.config['card']['data'])
  classifier = classifier_lib.load_or_fit(
    train.images,
    train.labels,
    train.num_classes,
    cache_dir=workdir / 'classifier',
    epochs=epochs,
  )
  real = frechet.fit(classifier(train.images)[1])
  classes = train.num_classes
  labels = np.arange(generated) % classes
  size = min(generated, 200)
  spread = {'batch_size': size, 'sharding': devices.batch_sharding(size)}
  made = np.asarray(model.generate(0, labels=labels, **spread, **sampling))
  held_out = test.images[:generated]
  sets = {
    '': (made, labels),
    '_reconstructions': (
      np.asarray(model.reconstruct(held_out)),
      test.labels[:generated],
    ),
    '_real': (held_out, test.labels[:generated]),
  }
  figures = {}
  for name, (image, label) in sets.items():
    logits, features = classifier(image)
    figures[f'class_agreement{name}'] = metrics.class_agreement(logits, label)
    figures[f'frechet_distance{name}'] = frechet.frechet_distance(
      frechet.fit(features), real
    )
  picture = images.grid(made[: 10 * classes], columns=classes, scale=3)
  images.save_image(workdir / 'samples.png', picture)
  return {**figures, 'generated': generated}


def table(summary: dict, workdir: pathlib.Path) -> str:
  """Tells a summary to a person."""
  s = summary
  n = s['generated']
  return f"""
  reconstruction   PSNR {s['psnr']:.2f} dB, SSIM {s['ssim']:.3f} (test images)
  codebook         {s['codebook_usage']:.1%} of the codes used, perplexity \
{s['codebook_perplexity']:.0f}
                                generated   reconstructed   real test
  class agreement              {s['class_agreement']:10.3f} \
{s['class_agreement_reconstructions']:15.3f} {s['class_agreement_real']:11.3f}
  Frechet distance to training {s['frechet_distance']:10.3f} \
{s['frechet_distance_reconstructions']:15.3f} \
{s['frechet_distance_real']:11.3f}
  ({n} images each, features of a small classifier)
  {s['seconds']:.0f} s in all

  Look at {workdir / 'samples.png'}; more of them:
    vqjax generate {workdir / 'maskgit'} --labels 3,7 --num 16
"""


def _card(name: str, variant: str):
  path = CONFIGS / f'{name}.py'
  return config_lib.load_card(f'{path}:{variant}' if variant else str(path))


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='python -m train.quickstart',
    description='Train a tokenizer and a prior on the embedded Fashion-MNIST, '
    'sample, and measure. Less than ten minutes on two CPU cores.',
  )
  parser.add_argument(
    '--workdir',
    required=True,
    type=pathlib.Path,
    metavar='DIR',
    help='a folder for both runs and the results',
  )
  parser.add_argument(
    '--smoke',
    action='store_true',
    help='a test of the machinery in a minute; the samples are noise',
  )
  arguments = parser.parse_args(argv)

  def go():
    variant = 'smoke' if arguments.smoke else ''
    summary = quickstart(arguments.workdir, variant)
    print(table(summary, arguments.workdir))

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
