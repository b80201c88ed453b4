"""Tasks: what is trained, each in a module of its own.

A config names its task by the name of a module of this package, such as
`task: 'autoencoder'`, or by the dotted path of a module elsewhere, such as
`task: 'my_package.my_task'`. A module of a task has

    Config                     the dataclass of its config
    make_task(setup)           -> Task, to be trained; see `train.tasks.base`
    load_task(model)           -> Task, to evaluate a model that was trained

A new task is a new module; nothing else has to name it.
"""

import importlib
import pkgutil
import types

from vq_jax.config import schema
from vq_jax.utils import names as names_lib


def get_task_module(name: str) -> types.ModuleType:
  """Returns the module of a task.

  Args:
    name: a module of this package, or the dotted path of another module.

  Raises:
    ConfigError: if there is no such module, or it defines no task.

  Example:
    >>> get_task_module('maskgit').Loss().schedule
    'cosine'
  """
  if not isinstance(name, str) or '.' not in name:
    names = _get_names()
    if name not in names:
      raise schema.ConfigError(names_lib.unknown('config.task', name, names))
    return importlib.import_module(f'{__name__}.{name}')
  try:
    module = importlib.import_module(name)
  except ImportError as error:
    raise schema.ConfigError(
      f'the module of config.task {name!r} cannot be imported: {error}.'
    ) from error
  if not _is_task(module):
    raise schema.ConfigError(
      f'the module of config.task {name!r} must define Config, make_task and '
      'load_task; see train.tasks.'
    )
  return module


def _get_names() -> list[str]:
  """Returns the names of the modules of this package that define a task."""
  names = [module.name for module in pkgutil.iter_modules(__path__)]
  return [
    name
    for name in names
    if _is_task(importlib.import_module(f'{__name__}.{name}'))
  ]


def _is_task(module: types.ModuleType) -> bool:
  names = ('Config', 'make_task', 'load_task')
  return all(hasattr(module, name) for name in names)
