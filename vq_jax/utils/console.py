"""Output of command line programs."""

import warnings


def show_warnings_as_lines() -> None:
  """Prints warnings as one line, without the file and the line of code."""
  warnings.formatwarning = _one_line


def _one_line(message, *where, **line) -> str:
  del where, line
  return f'warning: {message}\n'


def is_out_of_memory(error: BaseException) -> bool:
  """Returns whether an error says that a host or device is out of memory."""
  # XLA raises errors of one class, with this word in the message.
  return isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in str(error)
