"""A reader of pickles of arrays, which allows only what rebuilds arrays."""

import contextlib
import os
import pathlib
import pickle
from collections.abc import Iterator
from typing import Any
from typing import BinaryIO

import numpy as np

from vq_jax.utils import file_kinds


class _Unpickler(pickle.Unpickler):
  """An unpickler that allows only given names."""

  def __init__(self, file, known: dict[str, Any]):
    super().__init__(file)
    self._known = known

  def find_class(self, module: str, name: str) -> Any:
    """Returns the object of an allowed name.

    Raises:
      ValueError: if the name is not allowed.
    """
    if f'{module}.{name}' not in self._known:
      raise ValueError(
        f'weights need no {module}.{name}; the file asks for it and may be '
        'hostile. Nothing in it was run.'
      )
    return self._known[f'{module}.{name}']


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """Opens a file with weights.

  Raises:
    ValueError: if the file is of another kind, or truncated.
    OSError: if it cannot be read.
  """
  with pathlib.Path(path).open('rb') as file:
    other = file_kinds.describe_non_weights(file_kinds.read_head(file))
    if other is not None:
      raise ValueError(f'{path} holds no weights: it is {other}.')
    file.seek(0)
    try:
      yield file
    except (EOFError, pickle.UnpicklingError) as error:
      raise ValueError(
        f'{path} cannot be read as weights: {error}. Download it again.'
      ) from error


def numpy_tree(path: str | os.PathLike) -> dict[str, Any]:
  """Reads a pickle of nested dicts of arrays.

  Raises:
    ValueError: if the file contains anything else.
    OSError: if it cannot be read.
  """
  known = {
    'numpy.core.multiarray._reconstruct': np.empty(0).__reduce__()[0],
    'numpy.ndarray': np.ndarray,
    'numpy.dtype': np.dtype,
  }
  with _opened(path) as file:
    return _Unpickler(file, known).load()
