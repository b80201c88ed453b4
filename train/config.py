"""Config cards: read one, override its leaves, check and compare it.

A card is a Python file with `get_config(variant='')`.
"""

import ast
import dataclasses
import importlib.util
import pathlib
from collections.abc import Mapping
from typing import Any
from typing import TypeVar

import ml_collections

from train.settings import AutoencoderCard
from train.settings import Card
from train.settings import ConfigError
from train.settings import CriticCard
from train.settings import Duration
from train.settings import PriorCard
from vq_jax.config import registry
from vq_jax.utils import fields as fields_lib

_DURATIONS = ('steps', 'epochs', 'percent')

T = TypeVar('T')

CARDS = {
  'autoencoder': AutoencoderCard,
  'prior': PriorCard,
  'token_critic': CriticCard,
  'vae': Card,
}


def parse_card(config: Mapping[str, Any]) -> Card:
  """Turns a plain card into its dataclass; sections stay mappings.

  Raises:
    ConfigError: if the task or a key is unknown.
  """
  task = config.get('task')
  if task not in CARDS:
    raise ConfigError(registry.unknown('config.task', task, CARDS))
  return section(CARDS[task], '', config)


# What may differ between the parts of one run: how long it trains, where it
# computes, how its bytes travel and what it shows of itself.
FREE_TO_CHANGE = (
  'parallel',
  'sampling',
  'data.workers',
  'data.prefetch',
  'data.data_dir',
  'data.in_memory',
  'data.max_unreadable',
  'train.duration',
  'train.log_every',
  'train.eval_every',
  'train.save_every',
  'train.keep',
  'train.pictures',
)


def section(cls: type[T], name: str, values: Mapping[str, Any]) -> T:
  """Returns `cls(**values)`.

  Raises:
    ConfigError: if a key is unknown or missing; lists the valid ones.
  """
  where = f'config.{name}' if name else 'config'
  fields = {field.name: field for field in dataclasses.fields(cls)}
  for key in values:
    if key not in fields:
      raise ConfigError(registry.unknown(f'key of {where}', key, fields))
  fields_lib.check_arguments(cls, values, where=f'{where}.', error=ConfigError)
  for key, field in fields.items():
    required = (
      field.default is dataclasses.MISSING
      and field.default_factory is dataclasses.MISSING
    )
    if required and key not in values:
      raise ConfigError(f'{where} needs the key {key!r}.')
  return cls(**values)


def load_card(path: str) -> ml_collections.ConfigDict:
  """Loads a card from `file.py` or `file.py:variant`.

  Raises:
    ConfigError: if the file is no card or knows no such variant.
  """
  file, _, variant = path.partition(':')
  if not pathlib.Path(file).is_file():
    folder = pathlib.Path(file).parent
    there = sorted(p.name for p in folder.glob('*.py')) or ['nothing']
    raise ConfigError(
      f'no config card {file}. In {folder}/ there is: {", ".join(there)}.'
    )
  spec = importlib.util.spec_from_file_location('config_card', file)
  if spec is None:
    raise ConfigError(f'{file} is no config card: it is no Python file (.py).')
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except Exception as error:  # whatever the code of a user does
    text = ' '.join(str(error).split())
    raise ConfigError(
      f'{file} cannot be run: {type(error).__name__}: {text}.'
    ) from error
  if not hasattr(module, 'get_config'):
    raise ConfigError(f"{file} is no config card: it has no 'get_config'.")
  return module.get_config(variant) if variant else module.get_config()


def override(config: ml_collections.ConfigDict, key: str, text: str) -> None:
  """Sets one leaf from the command line.

  Args:
    config: changed in place.
    key: path with dots, `optim.learning_rate`.
    text: a Python literal, or a plain string.

  Raises:
    ConfigError: if there is no such leaf or the value has another type.
  """
  *path, leaf = key.split('.')
  node = config
  for i, part in enumerate([*path, leaf]):
    if i == len(path) and leaf in _DURATIONS and _is_duration(node):
      # Another unit replaces the one that is there.
      value = _literal(text)
      where = f'config.{".".join(path)}.'
      fields_lib.check_arguments(
        Duration, {leaf: value}, where=where, error=ConfigError
      )
      for name in list(node):
        del node[name]
      node[leaf] = value
      return
    if not isinstance(node, ml_collections.ConfigDict) or part not in node:
      where = '.'.join(['config', *path[:i]])
      names = list(node) if isinstance(node, ml_collections.ConfigDict) else []
      raise ConfigError(registry.unknown(f'key of {where}', part, names))
    if i < len(path):
      node = node[part]
  node[leaf] = _parse(key, text, node[leaf])


def _is_duration(node: Any) -> bool:
  """Returns whether a part of a card is a duration, whatever its unit."""
  is_dict = isinstance(node, ml_collections.ConfigDict)
  return is_dict and len(node) > 0 and set(node) <= set(_DURATIONS)


def _literal(text: str) -> Any:
  """Returns the Python literal that a text is, or the text."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    return text


def _parse(key: str, text: str, old: Any) -> Any:
  if isinstance(old, str):
    return text
  value = _literal(text)
  if isinstance(old, float) and type(value) is int:
    value = float(value)
  if isinstance(old, tuple) and isinstance(value, list):
    value = tuple(value)
  wanted = dict if isinstance(old, ml_collections.ConfigDict) else type(old)
  if old is not None and value is not None and type(value) is not wanted:
    raise ConfigError(
      f'config.{key} is of type {wanted.__name__} ({old!r}); got {text!r}.'
    )
  return ml_collections.ConfigDict(value) if wanted is dict else value


def changes(old: Any, new: Any) -> dict[str, list[Any]]:
  """Returns what of the free parts differs: key -> [before, now]."""

  def leaf(card, key):
    for part in key.split('.'):
      card = card.get(part) if isinstance(card, Mapping) else None
    return card

  pairs = {key: [leaf(old, key), leaf(new, key)] for key in FREE_TO_CHANGE}
  return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def differences(old: Any, new: Any, prefix: str = '') -> list[str]:
  """Lists the leaves in which two plain configs differ, but for free ones."""
  if prefix in FREE_TO_CHANGE:
    return []
  if isinstance(old, Mapping) and isinstance(new, Mapping):
    lines = []
    for key in sorted({*old, *new}):
      path = f'{prefix}.{key}' if prefix else key
      lines += differences(old.get(key), new.get(key), path)
    return lines
  return [] if old == new else [f'  {prefix}: {old!r} there, {new!r} here']
