"""The YAML configs that CompVis/taming-transformers releases with weights."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import yaml

from vq_jax.utils import file_kinds
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import kinds


@contextlib.contextmanager
def reading(
  path: str | os.PathLike, kind: str, fields: str
) -> Iterator[dict[str, Any]]:
  """Yields `model.params` of a config, and reports fields missing in the block.

  Args:
    path: the file.
    kind: kind of the model, for the message.
    fields: the expected fields, for the message.

  Raises:
    ConvertError: if the file is not YAML, or if a field is missing or wrong.
    OSError: if the file cannot be read.
  """
  kinds.require_file(path)
  other = file_kinds.describe_placeholder(file_kinds.read_head(path))
  if other is not None:
    raise errors.ConvertError(f'{path} is no config of a {kind}: it is {other}')
  try:
    yield yaml.safe_load(pathlib.Path(path).read_text())['model']['params']
  except (yaml.YAMLError, UnicodeError) as error:
    raise errors.ConvertError(
      f'{path} is no YAML: {" ".join(str(error).split())}'
    ) from error
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise errors.ConvertError(
      f'{path} is no config of a {kind}: it should have model.params with '
      f'{fields}; at {error}'
    ) from error
