"""Converts files of the size of the released MaskGIT: seconds and memory.

    python -m tests.benchmarks.convert_full_size --workdir runs/full_size

Writes random weights in the published format, 168 leaves of the tokenizer and
393 of the transformer for 256 x 256 images (or --side 512), and converts them
in a process of its own.
"""

import argparse
import pathlib
import resource
import shutil
import subprocess
import sys
import time

import jax
import jax.numpy as jnp

from tests.convert import prior_references
from tests.convert import references
from tests.convert import released


def write(path: pathlib.Path, reference, *arguments) -> None:
  """Writes random weights of a reference as they are released."""
  shapes, weights = references.Shapes(), references.RandomWeights()
  jax.eval_shape(lambda *args: reference(shapes, *args), *arguments)
  for name, shape in shapes.items():
    weights(name, *shape)
  released.write(path, 'maskgit-tokenizer', dict(weights))
  print(f'{path}: {len(weights)} leaves, {path.stat().st_size / 2**20:.0f} MiB')


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--side', type=int, choices=(256, 512), default=256)
  arguments = parser.parse_args(argv)
  folder = arguments.workdir
  folder.mkdir(parents=True, exist_ok=True)
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  write(
    folder / 'tokenizer',
    references.MaskGIT(128, (1, 1, 2, 2, 4), 2, 256, 1024),
    image,
  )
  num_tokens = (arguments.side // 16) ** 2
  write(
    folder / 'transformer',
    prior_references.MaskGIT(),
    jax.ShapeDtypeStruct((1, num_tokens), jnp.int32),
    jax.ShapeDtypeStruct((1,), jnp.int32),
  )
  shutil.rmtree(folder / 'run', ignore_errors=True)
  began = time.perf_counter()
  files = [
    part
    for name in ('tokenizer', 'transformer')
    for part in (f'--{name}', str(folder / name))
  ]
  code = subprocess.run(
    [sys.executable, '-m', 'vq_jax.cli.main', 'convert', 'maskgit', *files]
    + ['--out', str(folder / 'run')]
  ).returncode
  seconds = time.perf_counter() - began
  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
  print(f'{seconds:.1f} s, at most {peak:.2f} GiB of memory')
  return code


if __name__ == '__main__':
  sys.exit(main())
