"""The YAML files that CompVis/taming-transformers releases with its weights."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import yaml

from vq_jax.convert import errors


@contextlib.contextmanager
def reading(
  path: str | os.PathLike, kind: str, fields: str
) -> Iterator[dict[str, Any]]:
  """Yields `model.params`; what the block misses in it is an error of the file.

  Args:
    path: the file.
    kind: of the model that it should describe, for the message.
    fields: what it should have, for the message.

  Raises:
    ConvertError: if it is no YAML, or the block misses something.
    OSError: if it cannot be read.
  """
  try:
    yield yaml.safe_load(pathlib.Path(path).read_text())['model']['params']
  except (yaml.YAMLError, UnicodeError) as error:
    raise errors.ConvertError(f'{path} is no YAML: {error}') from error
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise errors.ConvertError(
      f'{path} is no config of a {kind}: it should have model.params with '
      f'{fields}; at {error}'
    ) from error
