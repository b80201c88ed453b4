"""Config files: reading one, and setting its fields.

A config file is a Python file with `get_config(variant='')`, which returns
nested dicts: the fields of its task's `Config` that differ from their defaults.
If it needs the runs of other configs, `LEARNS_FROM` names them: a field, such
as 'autoencoder', and the name of the config file beside it.
"""

import copy
import importlib.util
import pathlib
import types
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from train import tasks
from vq_jax.config import parse
from vq_jax.config import schema
from vq_jax.config.schema import ConfigError


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
  module = _load_module(file)
  if not hasattr(module, 'get_config'):
    raise ConfigError(f"{file} is not a config: it has no 'get_config'.")
  config = module.get_config(variant) if variant else module.get_config()
  # Config files share parts (`configs/common.py`), which overrides must not
  # change for the next one.
  config = copy.deepcopy(config)
  for key, text in overrides:
    override(config, key, text)
  return config


def get_learns_from(path: str) -> dict[str, str]:
  """Returns the configs of the runs that a config file needs, by field.

  Args:
    path: the file, `file.py` or `file.py:variant`; the others have its variant.

  Raises:
    ConfigError: if the file holds no config.
  """
  file, colon, variant = path.partition(':')
  needs = getattr(_load_module(file), 'LEARNS_FROM', {})
  return {
    field: f'{pathlib.Path(file).with_name(name)}.py{colon}{variant}'
    for field, name in needs.items()
  }


def _load_module(file: str) -> types.ModuleType:
  """Runs a config file."""
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
  return module


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
