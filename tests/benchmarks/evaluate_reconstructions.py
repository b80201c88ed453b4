"""Evaluates the reconstructions of runs on the test images of a folder.

    python -m tests.benchmarks.evaluate_reconstructions photos \
        runs/photo_crops runs/photo_tokenizer --workdir runs/photo_figures

`photos` is the folder that `prepare_images` makes. Writes `table.md` with the
PSNR, the LPIPS (AlexNet, on which nothing was trained) and the Frechet distance
of EfficientNet-Lite0's features over all test images, and the codebook usage of
the last evaluation of each run; and `reconstructions.png`, with a row of test
images above a row of reconstructions of each run.
"""

import argparse
import pathlib
import sys

import numpy as np

from tests.benchmarks import compare_image_losses as benchmark
from train import errors
from vq_jax.utils import images
from vq_jax.utils import paths

COLUMNS = 10  # of the image grid


def evaluate(
  folder: pathlib.Path, runs: list[pathlib.Path], workdir: pathlib.Path
) -> str:
  """Writes the table and the image grid; returns the table."""
  evaluator = benchmark.Evaluator(folder)
  lines = [
    '| | PSNR, dB | LPIPS | Frechet distance | codebook usage |',
    '|---|---|---|---|---|',
  ]
  shown = np.linspace(0, len(evaluator.real) - 1, COLUMNS).astype(int)
  rows = [evaluator.real[shown]]
  for run in runs:
    reconstructed = benchmark.reconstruct(run, evaluator.real)
    lines.append(benchmark.line(run.name, run, evaluator(reconstructed)))
    rows.append(reconstructed[shown])
  lines.append(
    f'| one half of the images to the other | | | {evaluator.floor:.1f} | |'
  )
  grid = images.grid(images.stack_rows(*rows), columns=COLUMNS)
  images.save_image(workdir / 'reconstructions.png', grid)
  table = '\n'.join(lines) + '\n'
  paths.write_text(workdir / 'table.md', table)
  return table


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('images', type=pathlib.Path, help='the folder')
  parser.add_argument('runs', type=pathlib.Path, nargs='+')
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  arguments = parser.parse_args(argv)
  return errors.run_with_error_messages(
    lambda: print(evaluate(arguments.images, arguments.runs, arguments.workdir))
  )


if __name__ == '__main__':
  sys.exit(main())
