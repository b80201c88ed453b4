"""Messages instead of tracebacks, for errors that a user can correct."""

import errno
import logging
import sys
from collections.abc import Callable

from train import preemption
from train.logging import window
from vq_jax import data
from vq_jax.config import registry
from vq_jax.config import schema
from vq_jax.runs import layout
from vq_jax.utils import compilation_cache
from vq_jax.utils import console

_USER_ERRORS = (
  registry.SpecError,
  layout.RunError,
  schema.ConfigError,
  data.DataError,
  window.DivergedError,
  OSError,
  ValueError,
)


def run_with_error_messages(run: Callable[[], None]) -> int:
  """Calls the function of a program, which keeps what it compiles.

  Errors are printed as messages without a traceback.

  Returns:
    the exit code: 0 after success, 1 after an error, and 128 + n if signal n
    stopped the training.
  """
  # Orbax logs tracebacks beside the error that it raises.
  for name in ('absl', 'asyncio', 'concurrent.futures'):
    logging.getLogger(name).setLevel(logging.CRITICAL)
  sys.unraisablehook = _print_unraisable
  console.show_warnings_as_lines()
  compilation_cache.use_compilation_cache()
  try:
    run()
  except preemption.Interrupted as error:
    print(error, file=sys.stderr)
    return 128 + error.signum
  except KeyboardInterrupt:
    print('Stopped at once. The last checkpoint is kept.', file=sys.stderr)
    return 130
  except window.DivergedError as error:
    print(
      f'error: the training diverged: {error} This state was not saved; the '
      'last good checkpoint is kept. A lower learning rate, clipping '
      '(optim.clip_norm), a longer warm-up or skipping such steps '
      '(train.on_nonfinite=skip) may help.',
      file=sys.stderr,
    )
    return 1
  except _USER_ERRORS as error:
    full = getattr(error, 'errno', None) == errno.ENOSPC
    hint = (
      ' Free some space; the same command then resumes the training.'
      if full
      else ''
    )
    print(f'error: {error}{"." + hint if hint else ""}', file=sys.stderr)
    return 1
  return 0


def _print_unraisable(unraisable: 'sys.UnraisableHookArgs') -> None:
  """Prints an exception that nothing can handle.

  A checkpoint is written in many parts at once. If one fails, its error is
  reported and ends the writing. TensorStore then prints an exception for each
  of the others, because it cannot report them any more.
  """
  if str(unraisable.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(unraisable)
