"""Plans of all published configs for slices of a TPU, as a table.

    python -m tests.benchmarks.plan_configs --workdir runs/plans

Runs `python -m train.plan` for each row, one after the other, and prints the
table of docs/planning.md. A row whose plan is in the work folder is not planned
again. Needs libtpu (`pip install -e '.[plan]'`).
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys

from train import errors
from vq_jax.utils import paths

GIB = 2**30
TOKENS = '--config.data.source=tokens:nowhere'
HALF = '--config.model.transformer.dtype=bfloat16'
PRIOR = (TOKENS, HALF)


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table.

  Attributes:
    config: name of a config file.
    topology: the chips.
    options: further options of `train.plan`.
    half: whether the config itself computes in bfloat16.
  """

  config: str
  topology: str
  options: tuple[str, ...] = ()
  half: bool = False

  @property
  def command(self) -> list[str]:
    """The command that makes the plan."""
    config = f'configs/{self.config}.py'
    where = ['--config', config, '--topology', self.topology]
    return ['-m', 'train.plan', *where, *self.options]

  @property
  def file(self) -> str:
    """Name of the file of the plan."""
    name = '_'.join([self.config, self.topology, *self.options])
    kept = (c if c.isalnum() or c in '._' else '-' for c in name)
    return ''.join(kept) + '.json'


# The batch and the number of steps are the published ones.
ROWS = (
  Row('vqvae2_top_imagenet256', 'v5e:8x8', (TOKENS,)),
  Row('vqvae2_bottom_imagenet256', 'v5e:8x8', (TOKENS,)),
  Row('vqgan_transformer_f16_1024_imagenet256', 'v5e:4x4', PRIOR),
  Row(
    'vqgan_transformer_f16_16384_imagenet256',
    'v5e:4x4',
    (*PRIOR, '--mesh=data=4,fsdp=4'),
  ),
  Row('vit_vqgan_vim_base_imagenet256', 'v5e:8x8', PRIOR),
  Row(
    'vit_vqgan_vim_large_imagenet256',
    'v5e:16x16',
    (*PRIOR, '--mesh=data=16,fsdp=16'),
  ),
  Row('maskgit_imagenet256', 'v5e:4x4', PRIOR),
  Row('maskgit_imagenet256', 'v5e:4x4', (*PRIOR, '--mesh=data=4,fsdp=4')),
  Row('maskgit_imagenet256', 'v5e:8x8', PRIOR),
  Row('maskgit_imagenet256', 'v5e:16x16', PRIOR),
  Row('maskgit_imagenet256', 'v5e:16x16', (*PRIOR, '--mesh=data=64,fsdp=4')),
  Row('maskgit_imagenet512', 'v5e:8x8', PRIOR),
  Row('token_critic_imagenet256', 'v5e:4x4', PRIOR),
  Row('halton_maskgit_base_imagenet256', 'v5e:4x4', PRIOR),
  Row('vqvae_2017_cifar10', 'v5e:2x2'),
  Row('vqvae2_imagenet256', 'v5e:4x4'),
  Row('vqvae2_faces1024', 'v5e:8x8'),
  Row('vqgan_f16_1024_imagenet256', 'v5e:4x8'),
  Row('vqgan_f16_16384_imagenet256', 'v5e:4x8'),
  Row('vit_vqgan_small_imagenet256', 'v5e:8x8'),
  Row('vit_vqgan_base_imagenet256', 'v5e:8x8'),
  Row('vit_vqgan_large_imagenet256', 'v5e:8x8', ('--mesh=data=16,fsdp=4',)),
  Row('maskgit_tokenizer_imagenet256', 'v5e:8x8'),
  Row('maskgit_imagenet256', 'v5e:4x4', (HALF,)),
  Row('llamagen_vq16_imagenet256', 'v5e:4x4', half=True),
)


def plan(row: Row, folder: pathlib.Path) -> dict:
  """Returns the plan of a row; a failure is a plan with the key 'error'."""
  file = folder / row.file
  if not file.is_file():
    print(' '.join(row.command), file=sys.stderr, flush=True)
    done = subprocess.run(
      [sys.executable, *row.command, '--json'], capture_output=True, text=True
    )
    text = done.stdout
    if done.returncode:
      text = json.dumps({'error': done.stderr.strip().splitlines()[-1]})
    paths.write_text(file, text)
  return json.loads(file.read_text())


def format_row(row: Row, found: dict) -> str:
  """Returns a line of the table."""
  options = ', '.join(
    f'`{option.removeprefix("--")}`'
    for option in row.options
    if option not in PRIOR
  )
  cells = [f'`{row.config}`', f'`{row.topology}`', options]
  if 'error' in found:
    return ' | '.join(['', *cells, found['error'], ''])
  memory = found['memory']
  cells += [
    'tokens' if TOKENS in row.options else 'images',
    'bfloat16' if HALF in row.options or row.half else 'float32',
    str(found['batch_size']),
    f'{memory["peak"] / GIB:.2f} GiB',
    f'{(memory["available"] - memory["peak"]) / GIB:.2f} GiB',
    f'{1e3 * found["seconds"]:.1f} ms',
    f'{found["share_of_peak"]:.1%}',
    f'{found["days"]:.2f}',
    f'{sum(p["compile_seconds"] for p in found["programs"]):.0f} s',
  ]
  return ' | '.join(['', *cells, '']).strip()


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--only', default='', help='part of the name of a config')
  arguments = parser.parse_args(argv)

  def go():
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    rows = [row for row in ROWS if arguments.only in row.config]
    lines = [format_row(row, plan(row, arguments.workdir)) for row in rows]
    print('\n'.join(lines))

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
