"""Config files: reading one, setting its fields, comparing it with another.

A config file is a Python file with `get_config(variant='')`, which returns
nested dicts: the fields of its task's `Config` that differ from their defaults.
"""

import importlib.util
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from train import tasks
from vq_jax.config import parse
from vq_jax.config import schema
from vq_jax.config.schema import ConfigError

# Fields that may change while a run trains, because they do not affect the
# steps that are done: its length, the devices, how images are read, and what
# is written.
FREE_TO_CHANGE = (
  'parallel',
  'sampler',
  'data.workers',
  'data.prefetch',
  'data.data_dir',
  'data.in_memory',
  'data.max_unreadable',
  'train',
)


def load_config(
  path: str, overrides: Iterable[tuple[str, str]] = ()
) -> dict[str, Any]:
  """Loads a config file, `file.py` or `file.py:variant`.

  Args:
    path: the file.
    overrides: pairs of a key with dots, such as 'optim.learning_rate', and a
      text, as the command line gives them.

  Returns:
    The fields that differ from their defaults, as nested dicts.

  Raises:
    ConfigError: if the file holds no config or has no such variant, or a field
      cannot be set.
  """
  file, _, variant = path.partition(':')
  if not pathlib.Path(file).is_file():
    folder = pathlib.Path(file).parent
    there = sorted(p.name for p in folder.glob('*.py')) or ['nothing']
    raise ConfigError(
      f'no config file {file}. In {folder}/ there is: {", ".join(there)}.'
    )
  spec = importlib.util.spec_from_file_location('config_file', file)
  if spec is None:
    raise ConfigError(f'{file} is not a config: it is not a Python file (.py).')
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except Exception as error:  # whatever the code of a user raises
    text = ' '.join(str(error).split())
    raise ConfigError(
      f'{file} cannot be run: {type(error).__name__}: {text}.'
    ) from error
  if not hasattr(module, 'get_config'):
    raise ConfigError(f"{file} is not a config: it has no 'get_config'.")
  config = module.get_config(variant) if variant else module.get_config()
  for key, text in overrides:
    override(config, key, text)
  return config


def get_config_class(config: Mapping[str, Any]) -> type[schema.Config]:
  """Returns the class of a config, which its task defines.

  Raises:
    ConfigError: if there is no such task.
  """
  return tasks.get_task_module(config.get('task')).Config


def parse_config(config: Mapping[str, Any] | schema.Config) -> schema.Config:
  """Returns a config with all defaults.

  Raises:
    ConfigError: if a key is unknown or missing, or a value does not fit.
  """
  if isinstance(config, schema.Config):
    return config
  return parse.from_dict(get_config_class(config), config, 'config')


def override(config: dict[str, Any], key: str, text: str) -> None:
  """Sets a field of a config in place; see `vq_jax.config.parse.override`."""
  if key == 'task':
    config['task'] = text
  parse.override(get_config_class(config), config, key, text)


def get_changes(
  old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, list[Any]]:
  """Returns the differences in `FREE_TO_CHANGE`: key -> [before, now]."""
  return {key: pair for key, pair in _compare(old, new, '') if _is_free(key)}


def get_differences(
  old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ''
) -> list[str]:
  """Returns a line for each field that differs and may not change."""
  return [
    f'  {key}: {before!r} there, {now!r} here'
    for key, (before, now) in _compare(old, new, prefix)
    if not _is_free(key)
  ]


def _is_free(key: str) -> bool:
  return any(f'{key}.'.startswith(f'{free}.') for free in FREE_TO_CHANGE)


def _compare(old: Any, new: Any, prefix: str):
  """Yields the fields in which two configs differ: (key, [before, now])."""
  if isinstance(old, Mapping) and isinstance(new, Mapping):
    for key in sorted({*old, *new}):
      path = f'{prefix}.{key}' if prefix else key
      yield from _compare(old.get(key), new.get(key), path)
  elif old != new:
    yield prefix, [old, new]
