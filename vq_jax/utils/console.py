"""How programs of this library speak to a terminal."""

import warnings


def show_warnings_as_lines() -> None:
  """Makes a warning one line, for users who did not write the code."""
  warnings.formatwarning = _one_line


def _one_line(message, *where, **line) -> str:
  del where, line
  return f'warning: {message}\n'
