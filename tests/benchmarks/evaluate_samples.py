"""The quality of the samples of a class-conditional prior.

    python -m tests.benchmarks.evaluate_samples RUN --workdir runs/evaluated

Samples images, and evaluates them as the quickstart does, by a small classifier
of real images of the run's own data: how often it predicts the requested class,
and the Frechet distance of its features to those of all training images, next
to that of reconstructions and of real test images. The classifier stays in the
work folder. Writes `samples.png`, prints the figures.
"""

import argparse
import json
import pathlib
import sys

import vq_jax
from train import errors
from train import quickstart
from vq_jax.cli import sampling


def make_parser() -> argparse.ArgumentParser:
  """Returns the parser of the command."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('run', help='the run of a prior, as vq_jax.load takes it')
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--num', type=int, default=quickstart.GENERATED)
  parser.add_argument('--epochs', type=int, default=8, help='of the classifier')
  parser.add_argument('--seed', type=int, default=0, help='of the samples')
  sampling.add(parser)
  return parser


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  arguments = make_parser().parse_args(argv)

  def go():
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    model = vq_jax.load(arguments.run)
    figures = quickstart.evaluate(
      model,
      arguments.workdir,
      generated=arguments.num,
      epochs=arguments.epochs,
      seed=arguments.seed,
      sampler=sampling.samplers_from(arguments, model),
    )
    print(json.dumps(figures, indent=2))

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
