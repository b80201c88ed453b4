"""From plain mappings to the dataclasses of the schema, and back.

A path such as `model.quantizer.decay` is followed through the schema: fields of
sub-configs, then the fields of the class that a spec's type names. So each of
them can be set from the command line, whether a config file has it or not.
"""

import ast
import dataclasses
import json
import types
import typing
from collections.abc import Callable
from collections.abc import Mapping
from typing import Annotated
from typing import Any
from typing import TypeVar
from typing import cast

from vq_jax.config import registry
from vq_jax.config.schema import ConfigError
from vq_jax.config.schema import Spec
from vq_jax.config.schema import SubConfig
from vq_jax.utils import fields as fields_lib
from vq_jax.utils import names

T = TypeVar('T')


def from_dict(cls: type[T], values: Mapping[str, Any], where: str) -> T:
  """Makes a sub-config of a mapping, and those within it.

  Args:
    cls: a dataclass of the schema.
    values: its fields; what is left out has its default.
    where: the name that errors give to it, such as 'config.optim'.

  Raises:
    ConfigError: if a key is unknown or missing, or a value does not fit.
  """
  if isinstance(values, cls):
    return values
  if not isinstance(values, Mapping):
    raise ConfigError(
      f'{where} must be a mapping of {", ".join(_names(cls))}; got '
      f'{fields_lib.format_value(values)}.'
    )
  hints = fields_lib.type_hints(cast(Any, cls))
  found: dict[str, Any] = {}
  for key, value in values.items():
    if key not in _names(cls):
      raise ConfigError(names.unknown(f'key of {where}', key, _names(cls)))
    found[key] = _value_from_dict(hints[key], value, f'{where}.{key}')
  for field in dataclasses.fields(cast(Any, cls)):
    required = (
      field.default is dataclasses.MISSING
      and field.default_factory is dataclasses.MISSING
    )
    if required and field.name not in found:
      raise ConfigError(f'{where} needs the key {field.name!r}.')
  try:
    return cls(**found)
  except ConfigError:
    raise
  except ValueError as error:  # of a class that is not a `SubConfig`
    raise ConfigError(f'{where}: {error}') from error


def to_dict(config: Any) -> dict[str, Any]:
  """Returns a config as JSON has it: dicts, lists, numbers and strings.

  Of fields that exclude each other only the one that is given is there.
  """
  exclusive = {name for group in _get_exclusive(config) for name in group}
  found = {}
  for name in _names(type(config)):
    value = getattr(config, name)
    if dataclasses.is_dataclass(value):
      value = to_dict(value)
    if value is not None or name not in exclusive:
      found[name] = value
  return json.loads(json.dumps(found))


def override(
  cls: type[SubConfig], config: dict[str, Any], key: str, text: str
) -> None:
  """Sets one field of a config from the command line.

  Args:
    cls: the class of the config.
    config: nested dicts, changed in place.
    key: path with dots, such as 'optim.learning_rate'.
    text: a Python literal, or a plain string.

  Raises:
    ConfigError: if there is no such field, or the value does not fit.
  """
  node, where = config, 'config'
  holder: type | Spec = cls
  *path, leaf = key.split('.')
  for part in path:
    found = get_holder(get_hint(holder, node, part, where))
    where = f'{where}.{part}'
    if found is None:
      raise ConfigError(f'{where} is a value, which has no key {leaf!r}.')
    if node.get(part) is None:
      node[part] = {}
    holder, node = found, node[part]
    if not isinstance(node, dict):
      raise ConfigError(
        f'{where} must be a mapping with the key {leaf!r} to be set; got '
        f'{fields_lib.format_value(node)}.'
      )
  hint = get_hint(holder, node, leaf, where)
  value = _parse(hint, text, f'{where}.{leaf}')
  for group in _get_exclusive(holder):
    for name in group if leaf in group else ():
      node.pop(name, None)
  node[leaf] = value


def _get_exclusive(config: Any) -> tuple[tuple[str, ...], ...]:
  """Returns the groups of fields that exclude each other."""
  return getattr(config, 'exclusive', ())


def _names(cls: type) -> list[str]:
  return [field.name for field in dataclasses.fields(cls)]


def _union_parts(hint: Any) -> tuple[Any, ...]:
  """Returns the types of a union; the type itself if it is none."""
  if typing.get_origin(hint) in (typing.Union, types.UnionType):
    return typing.get_args(hint)
  return (hint,)


def get_holder(hint: Any) -> type | Spec | None:
  """Returns what holds the keys of a field; None if it is a plain value."""
  for part in _union_parts(hint):
    if isinstance(part, type) and dataclasses.is_dataclass(part):
      return part
    if typing.get_origin(part) is Annotated:
      for note in typing.get_args(part)[1:]:
        if isinstance(note, Spec):
          return note
  return None


def get_hint(
  holder: type | Spec, node: Mapping[str, Any], name: str, where: str
) -> Any:
  """Returns the type of a field of a sub-config or of a spec."""
  if not isinstance(holder, Spec):
    if name not in _names(holder):
      raise ConfigError(names.unknown(f'key of {where}', name, _names(holder)))
    return _get_plain_hint(holder, name)
  if name == 'type':
    return str
  if 'type' not in node:
    raise ConfigError(
      f'{where} names no type, so {name!r} cannot be set. Set '
      f'--config.{where.removeprefix("config.")}.type first; valid: '
      f'{", ".join(sorted(registry.REGISTRY[holder.kind]))}.'
    )
  factory = registry.get_factory(holder.kind, node['type'])
  valid = registry.get_field_names(factory)
  if name not in valid:
    raise ConfigError(names.unknown(f'key of {where}', name, valid))
  if name in registry.REGISTRY:
    return Annotated[Mapping, Spec(name)] | None
  return registry.CONFIGS.get(name) or _get_plain_hint(factory, name)


def _get_plain_hint(factory: Callable, name: str) -> Any:
  """Returns the type of a field, as a config file gives it."""
  if name.endswith('_init') or name in registry.DTYPE_FIELDS:
    return str
  return fields_lib.type_hints(factory).get(name, Any)


def _value_from_dict(hint: Any, value: Any, where: str) -> Any:
  """Returns the value of a field, sub-configs as dataclasses."""
  if value is None and types.NoneType in _union_parts(hint):
    return None
  holder = get_holder(hint)
  if isinstance(holder, Spec):
    if not isinstance(value, Mapping):
      raise ConfigError(
        f"{where} must be a mapping with the key 'type'; got "
        f'{fields_lib.format_value(value)}.'
      )
    return dict(value)
  if holder is not None:
    return from_dict(holder, value, where)
  if isinstance(value, list):
    value = tuple(value)
  if type(value) is int and _is_float(hint):
    value = float(value)
  return fields_lib.check_value(where, value, hint, error=ConfigError)


def _is_float(hint: Any) -> bool:
  """Returns whether a field takes floats, and no ints."""
  kinds = {
    typing.get_args(part)[0] if typing.get_origin(part) is Annotated else part
    for part in _union_parts(hint)
  }
  return float in kinds and int not in kinds


def _parse(hint: Any, text: str, where: str) -> Any:
  """Returns the value that a text of the command line stands for."""
  parts = _union_parts(hint)
  if str in parts:
    return None if text == 'None' and types.NoneType in parts else text
  if bool in parts and text.lower() in ('true', 'false'):
    return text.lower() == 'true'
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    value = text
  checked = _value_from_dict(hint, value, where)
  return value if dataclasses.is_dataclass(checked) else checked
