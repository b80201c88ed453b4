"""Pretrained models: those of this package, and those that others released.

The subfolders are run folders as `vqjax export` writes them; `vq_jax.load`
takes their names, as in `vq_jax.load('fashion')`.
"""

import pathlib

_HERE = pathlib.Path(__file__).parent
_CONFIG = 'config.json'  # the file that each run folder has


def list_packaged() -> tuple[str, ...]:
  """Returns the names of the models that are installed with the package."""
  return tuple(sorted(path.parent.name for path in _HERE.glob(f'*/{_CONFIG}')))


def find_packaged(name: str) -> pathlib.Path | None:
  """Returns the run folder of a packaged model, or None for another name.

  Args:
    name: the name of the model, or that of a run within its folder, such as
      `fashion/autoencoder`.
  """
  model, _, part = name.partition('/')
  return _HERE / model / part if model in list_packaged() else None
