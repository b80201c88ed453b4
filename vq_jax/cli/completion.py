"""Completion of `vqjax` in bash and zsh, by a script that shtab writes.

The script holds all commands, flags and choices, so completing starts no
Python.
"""

import argparse
from typing import Any

import shtab

_FOLDERS = ('DIR', 'FOLDER', 'RUN', 'RUN2')
_FILES = ('FILE', 'IMAGE')


def add(parser: argparse.ArgumentParser) -> None:
  """Adds the flag `--print-completion SHELL` to a parser.

  Args:
    parser: the parser, which has all its commands and flags already. Arguments
      are completed by files or folders according to their `metavar`.
  """
  _mark_paths(parser)
  shtab.add_argument_to(
    parser,
    ['--print-completion'],
    help='Print a script that makes this shell complete commands and flags: '
    '%(choices)s.',
  )


def _mark_paths(parser: argparse.ArgumentParser) -> None:
  """Sets how shtab completes the arguments that are paths."""
  action: Any  # shtab reads the attribute `complete`, which argparse lacks
  for action in parser._actions:
    if isinstance(action, argparse._SubParsersAction):
      for command in action.choices.values():
        _mark_paths(command)
    elif action.metavar in _FOLDERS:
      action.complete = shtab.DIRECTORY
    elif action.metavar in _FILES or '--out' in action.option_strings:
      action.complete = shtab.FILE
