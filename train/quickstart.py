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
from collections.abc import Sequence
from typing import Any

from train import huge_pages

if __name__ == '__main__':
  huge_pages.restart_with_huge_pages()  # before JAX is imported

import numpy as np

import vq_jax
from train import config as config_lib
from train import errors
from train import loop
from vq_jax import data
from vq_jax import inference
from vq_jax import metrics
from vq_jax import samplers
from vq_jax.metrics import classifier as classifier_lib
from vq_jax.metrics import frechet
from vq_jax.utils import devices
from vq_jax.utils import images
from vq_jax.utils import paths

CONFIGS = pathlib.Path(__file__).resolve().parent.parent / 'configs'
GENERATED = 1000


def quickstart(
  workdir: pathlib.Path, variant: str = '', *, seed: int = 0
) -> dict:
  """Trains both stages and evaluates samples.

  Args:
    workdir: folder for both runs and the results.
    variant: variant of both configs; 'smoke' trains a few steps, as a test.
    seed: of both trainings and of the samples.

  Returns:
    the content of `summary.json`.
  """
  began = time.monotonic()
  tokenizer = _load_config('quickstart_tokenizer', variant)
  prior = _load_config('quickstart_maskgit', variant)
  tokenizer['seed'] = prior['seed'] = seed
  prior['autoencoder'] = str(workdir / 'tokenizer')
  reconstruction = loop.train(tokenizer, workdir / 'tokenizer')
  loop.train(prior, workdir / 'maskgit')
  figures = evaluate(
    vq_jax.load(workdir / 'maskgit'),
    workdir,
    seed=seed,
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


def _load_images(
  training: inference.TrainingData,
) -> list[data.ArraySource]:
  """Returns the training images and the held-out images.

  Args:
    training: the data of a run.
  """
  return [
    data.in_memory(
      data.open_source(training.source, split, data_dir=training.data_dir)
    )
    for split in (training.train_split, training.eval_split)
  ]


def evaluate(
  model: vq_jax.Model,
  workdir: pathlib.Path,
  *,
  generated: int = GENERATED,
  epochs: int = 8,
  seed: int = 0,
  sampler: samplers.Sampler | Sequence[samplers.Sampler] | None = None,
) -> dict:
  """Evaluates samples with a classifier of real images, and saves some of them.

  `class_agreement` is the fraction of the samples that the classifier assigns
  to the class they were generated for; `frechet_distance` compares its features
  of samples with those of training images. Both are also computed for as many
  held-out images and for their reconstructions.

  Args:
    model: a class-conditional prior with its autoencoder.
    workdir: folder for `samples.png` and the classifier.
    generated: number of samples.
    epochs: number of epochs for which the classifier is trained.
    seed: of the samples.
    sampler: the sampler; see `vq_jax.Model.generate`.

  Returns:
    the metrics by name, and `generated`.
  """
  train, test = _load_images(model.info.data)
  classifier = classifier_lib.load_or_fit(
    train.images,
    train.labels,
    train.num_classes,
    cache_dir=workdir / 'classifier',
    epochs=epochs,
  )
  real, classes = frechet.fit(classifier(train.images)[1]), train.num_classes
  labels, size = np.arange(generated) % classes, min(generated, 200)
  spread = {'batch_size': size, 'sharding': devices.batch_sharding(size)}
  samples = np.asarray(
    model.generate(seed, labels=labels, sampler=sampler, **spread)
  )
  held_out = test.images[:generated]
  sets = {
    '': (samples, labels),
    '_reconstructions': (
      np.asarray(model.reconstruct(held_out)),
      test.labels[:generated],
    ),
    '_real': (held_out, test.labels[:generated]),
  }
  found = {}
  for name, (image, label) in sets.items():
    logits, features = classifier(image)
    found[f'class_agreement{name}'] = metrics.class_agreement(logits, label)
    found[f'frechet_distance{name}'] = frechet.frechet_distance(
      frechet.fit(features), real
    )
  grid = images.grid(samples[: 10 * classes], columns=classes, scale=3)
  images.save_image(workdir / 'samples.png', grid)
  return {**found, 'generated': generated}


def table(summary: dict, workdir: pathlib.Path) -> str:
  """Returns a summary as text."""
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
  {s['seconds']:.0f} s in total

  The samples are in {workdir / 'samples.png'}. To generate more:
    vqjax generate {workdir / 'maskgit'} --labels 3,7 --num 16
"""


def _load_config(name: str, variant: str) -> dict[str, Any]:
  path = CONFIGS / f'{name}.py'
  return config_lib.load_config(f'{path}:{variant}' if variant else str(path))


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='python -m train.quickstart',
    description='Train a tokenizer and a prior on the embedded Fashion-MNIST, '
    'sample, and measure. About ten minutes on two CPU cores.',
  )
  parser.add_argument(
    '--workdir',
    required=True,
    type=pathlib.Path,
    metavar='DIR',
    help='folder for both runs and the results',
  )
  parser.add_argument(
    '--seed',
    type=int,
    default=0,
    help='of both trainings and of the samples (default: 0)',
  )
  parser.add_argument(
    '--smoke',
    action='store_true',
    help='train a few steps only, as a test; the samples are noise',
  )
  arguments = parser.parse_args(argv)

  def go():
    variant = 'smoke' if arguments.smoke else ''
    summary = quickstart(arguments.workdir, variant, seed=arguments.seed)
    print(table(summary, arguments.workdir))

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
