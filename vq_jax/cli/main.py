"""`vqjax`: uses a trained run from the command line."""

import argparse
import shlex
import sys
import textwrap
from collections.abc import Callable

from vq_jax.cli import completion
from vq_jax.cli import configs
from vq_jax.cli import convert
from vq_jax.cli import demo
from vq_jax.cli import download
from vq_jax.cli import dream
from vq_jax.cli import edit
from vq_jax.cli import evaluate
from vq_jax.cli import export
from vq_jax.cli import generate
from vq_jax.cli import info
from vq_jax.cli import latents
from vq_jax.cli import probe
from vq_jax.cli import reconstruct
from vq_jax.cli import samples
from vq_jax.cli import tokenize
from vq_jax.runs import layout
from vq_jax.utils import compilation_cache
from vq_jax.utils import console

_COMMANDS = (
  generate,
  evaluate,
  edit,
  dream,
  reconstruct,
  latents,
  download,
  convert,
  export,
  tokenize,
  probe,
  info,
  samples,
  configs,
  demo,
)


def main(argv: list[str] | None = None) -> int:
  """Runs one command; returns the exit code."""
  argv = sys.argv[1:] if argv is None else argv
  arguments = parser().parse_args(argv)
  arguments.command_line = shlex.join(['vqjax', *argv])  # written into images
  console.show_warnings_as_lines()
  compilation_cache.use_compilation_cache()
  try:
    arguments.run(arguments)
  except (layout.RunError, OSError, ValueError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  except (MemoryError, RuntimeError) as error:
    if not console.is_out_of_memory(error):
      raise
    print(
      'error: there is not enough memory; use a smaller batch, as with '
      f'--batch-size: {error}'.splitlines()[0],
      file=sys.stderr,
    )
    return 1
  except KeyboardInterrupt:
    print('stopped.', file=sys.stderr)
    return 130
  return 0


def parser() -> argparse.ArgumentParser:
  """Returns the parser of all commands."""
  top = argparse.ArgumentParser(
    prog='vqjax',
    description='Sample from a trained run, edit or reconstruct images with '
    'it, or inspect it. A run is the folder that was given to training as '
    '--workdir.',
  )
  commands = top.add_subparsers(
    title='commands', required=True, metavar='COMMAND'
  )
  for module in _COMMANDS:
    module.add(commands, _add_command)
  completion.add(top)
  return top


def _add_command(
  commands, name: str, text: str, run: Callable, *, example: str
) -> argparse.ArgumentParser:
  command = commands.add_parser(
    name,
    help=text,
    description=textwrap.fill(text, width=79),
    epilog=f'example:\n  {example}'.replace('%', '%%'),
    formatter_class=_Formatter,
  )
  command.set_defaults(run=run)
  return command


class _Formatter(
  argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter
):
  """Shows defaults, and the example in a line of its own."""


if __name__ == '__main__':
  sys.exit(main())
