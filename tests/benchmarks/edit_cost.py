"""The time of an edit compared with that of generating images.

    python -m tests.benchmarks.edit_cost RUN

Generates images with the run of a MaskGIT, encodes them, and edits their
centres with the same number of steps, in turns. Prints the best times, and the
ratio of the time of an edit to that of generating and encoding.
"""

import argparse
import dataclasses
import pathlib
import sys
import time

import jax
import numpy as np

import vq_jax


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('run', type=pathlib.Path)
  parser.add_argument('--num', type=int, default=8, help='number of images')
  parser.add_argument('--steps', type=int, default=8, help='of decoding')
  parser.add_argument('--turns', type=int, default=3)
  arguments = parser.parse_args(argv)
  model, num = vq_jax.load(arguments.run), arguments.num
  height, width, _ = model.info.image_shape
  mask = np.zeros((height, width), bool)
  mask[height // 4 : -height // 4, width // 4 : -width // 4] = True
  label = 0 if model.vocab.num_classes else None
  sampler = dataclasses.replace(
    model.info.sampler, steps=arguments.steps, guidance=0.0
  )
  options = {'label': label, 'sampler': sampler}
  wanted = {'labels': label, 'num': num, 'sampler': sampler}
  images = np.asarray(model.generate(0, **wanted))
  functions = {
    'generate': lambda: model.generate(1, **wanted),
    'encode': lambda: model.encode(images),
    'edit': lambda: model.edit(1, images, mask, **options),
  }
  seconds = {name: [] for name in functions}
  for turn in range(arguments.turns + 1):
    for name, run in functions.items():
      began = time.perf_counter()
      jax.block_until_ready(run())
      if turn:  # the first compiles
        seconds[name].append(time.perf_counter() - began)
  best = {name: min(times) for name, times in seconds.items()}
  for name, time_s in best.items():
    print(f'{name}: {time_s:.2f} s for {num} images')
  ratio = best['edit'] / (best['generate'] + best['encode'])
  print(f'edit / (generate + encode): {ratio:.2f}')
  return 0


if __name__ == '__main__':
  sys.exit(main())
