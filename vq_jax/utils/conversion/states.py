"""The arrays of a state dict, and what their names and shapes tell."""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import pickles
from vq_jax.utils.conversion import unpickling

State = Mapping[str, Any]  # name -> object with a shape


# Keys under which tensors may be saved; `locations` finds others.
_KEYS = ('ema', 'model_state_dict', 'state_dict', 'model')


def load_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads all arrays of a state dict; see `pickles.reading` for the formats.

  Args:
    path: the file.

  Returns:
    the arrays by their names.

  Raises:
    ConvertError: if the file is of another kind or damaged.
    OSError: if it cannot be read.
  """
  with pickles.reading(path) as found:
    try:
      return {name: value.numpy() for name, value in tensors(found).items()}
    except errors.ConvertError as error:
      raise errors.ConvertError(f'{path} cannot be used: {error}.') from error


def tensors(tree: Any) -> dict[str, unpickling.Tensor]:
  """Returns the tensors of a checkpoint by name.

  Args:
    tree: a dict of tensors, or a dict that contains such a dict.

  Raises:
    ConvertError: if there are no tensors.
  """
  if not isinstance(tree, Mapping):
    raise errors.ConvertError(f'it holds no dict but a {type(tree).__name__}')
  for key in _KEYS:
    if isinstance(tree.get(key), Mapping):
      tree = tree[key]
      break
  found = {
    name: value
    for name, value in tree.items()
    if isinstance(name, str) and isinstance(value, unpickling.Tensor)
  }
  if not found:
    names = ', '.join(map(str, list(tree)[:5]))
    raise errors.ConvertError(f'it holds no tensors but {names or "nothing"}')
  return found


def shape(state: State, name: str, rank: int) -> tuple[int, ...]:
  """Returns the shape of an array.

  Raises:
    ConvertError: if the array is missing or has another rank.
  """
  if name not in state:
    raise errors.ConvertError(
      f'it has no {name}, but {len(state)} others, as {", ".join(state)[:200]}'
    )
  found = tuple(state[name].shape)
  if len(found) != rank:
    raise errors.ConvertError(f'{name} has the shape {found}, not {rank} axes')
  return found


def count(state: State, pattern: str) -> int:
  """Returns the number of distinct matches of the first group of a pattern."""
  matches = (re.match(pattern, name) for name in state)
  return len({match[1] for match in matches if match})


def multiple(whole: int, part: int, what: str) -> int:
  """Returns whole / part.

  Raises:
    ConvertError: if `whole` is not a multiple of `part`.
  """
  if part < 1 or whole < 1 or whole % part:
    raise errors.ConvertError(f'{what}: {whole} is no multiple of {part}')
  return whole // part
