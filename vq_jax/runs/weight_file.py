"""The variables of a run in one safetensors file, in place of checkpoints."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.runs import layout
from vq_jax.utils import paths
from vq_jax.utils import safetensors
from vq_jax.utils import trees

NAME = 'model.safetensors'
_STEP = 'step'


def exists(folder: str | os.PathLike) -> bool:
  """Returns whether a run folder has the file."""
  return (paths.make(folder) / NAME).is_file()


def write(
  folder: str | os.PathLike, variables: Mapping[str, Any], step: int
) -> None:
  """Writes the file.

  Args:
    folder: the run folder.
    variables: `{'params': ..., 'codebook': ...}`. The name of an array in the
      file is its path, such as `params/encoder/conv_in/kernel`.
    step: number of training steps.
  """
  flat = trees.flatten(jax.device_get(variables))
  arrays = {name: np.asarray(array) for name, array in flat.items()}
  metadata = {'format': 'vq_jax', _STEP: str(step)}
  safetensors.write(pathlib.Path(folder) / NAME, arrays, metadata)


def read(folder: str | os.PathLike) -> tuple[dict[str, Any], int]:
  """Reads the variables and the step.

  Raises:
    RunError: if the file is damaged.
  """
  path = paths.make(folder) / NAME
  try:
    arrays, metadata = safetensors.read(path)
    step = int(metadata.get(_STEP, 0))
  except (OSError, ValueError) as error:
    raise layout.RunError(f'{path} cannot be read: {error}') from error
  return jax.tree.map(jnp.asarray, trees.unflatten(arrays)), step
