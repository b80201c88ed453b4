"""Compiled programs that are kept from one run of a program to the next."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

_VARIABLE = 'JAX_COMPILATION_CACHE_DIR'


def use_compilation_cache(
  environ: Mapping[str, str] = os.environ,
) -> pathlib.Path | None:
  """Lets JAX keep compiled programs in a folder of the user.

  The folder is `vq_jax/xla` in $XDG_CACHE_HOME, or in ~/.cache if that is not
  set. JAX keeps programs that took longer than a second to compile. Its own
  settings have precedence: JAX_COMPILATION_CACHE_DIR names another folder, and
  JAX_ENABLE_COMPILATION_CACHE=false keeps none.

  Args:
    environ: the environment variables.

  Returns:
    The folder; None if JAX is told otherwise, or nothing can be written there.
  """
  config: Any = jax.config  # its flags are not typed
  if _VARIABLE in environ or config.jax_compilation_cache_dir is not None:
    return None
  if not config.jax_enable_compilation_cache:
    return None
  try:
    caches = environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
    folder = pathlib.Path(caches) / 'vq_jax' / 'xla'
    folder.mkdir(parents=True, exist_ok=True)
  except (OSError, RuntimeError):  # no home, or it cannot be written
    return None
  if not os.access(folder, os.W_OK | os.X_OK):
    return None
  jax.config.update('jax_compilation_cache_dir', str(folder))
  return folder
