"""How programs of this library speak to a terminal."""

import warnings


def show_warnings_as_lines() -> None:
  """Makes a warning one line, for users who did not write the code."""
  warnings.formatwarning = _one_line


def _one_line(message, *where, **line) -> str:
  del where, line
  return f'warning: {message}\n'


def is_out_of_memory(error: BaseException) -> bool:
  """Returns whether the host or a device had too little memory."""
  # XLA has one kind of error for all that can go wrong.
  return isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in str(error)
