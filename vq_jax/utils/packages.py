"""Packages that only some functions need, and that may be missing."""

import contextlib
import importlib.util
from collections.abc import Iterator

# Names of packages that differ from those of their modules.
_PACKAGES = {
  'PIL': 'pillow',
  'dm_pix': 'dm-pix',
  'sklearn': 'scikit-learn',
  'tensorflow_datasets': 'tensorflow-datasets',
}
# Extras of vq_jax -> the modules that they install.
_EXTRAS = {
  'train': (
    'array_record',
    'grain',
    'sklearn',
    'tensorboardX',
    'tensorflow_datasets',
  ),
  'hub': ('gcsfs', 'huggingface_hub'),
  'plot': ('matplotlib',),
}
# Of the extra `train`, what each training needs.
_TRAINING = ('grain', 'tensorboardX')


class MissingPackageError(ValueError):
  """A package that a function needs is not installed."""


@contextlib.contextmanager
def required_for(purpose: str) -> Iterator[None]:
  """Explains an import that fails because a package is not installed.

  Args:
    purpose: what needs the package; the subject of the message.

  Raises:
    MissingPackageError: if a module is not found.

  Example:
    >>> from vq_jax.utils import packages
    >>> with packages.required_for('reading this file'):
    ...   import no_such_package
    Traceback (most recent call last):
      ...
    vq_jax.utils.packages.MissingPackageError: reading this file needs the \
package no_such_package: run `pip install no_such_package`.
  """
  try:
    yield
  except ModuleNotFoundError as error:
    module = (error.name or '').partition('.')[0]
    package = _PACKAGES.get(module, module)
    extra = next((e for e in _EXTRAS if module in _EXTRAS[e]), None)
    also = f", or `pip install 'vq_jax[{extra}]'`" if extra else ''
    raise MissingPackageError(
      f'{purpose} needs the package {package}: run `pip install {package}`'
      f'{also}.'
    ) from error


def require_for_training() -> None:
  """Checks that the packages are installed that each training needs.

  Raises:
    MissingPackageError: if one is missing, before time is spent.
  """
  missing = [name for name in _TRAINING if not is_installed(name)]
  if missing:
    raise MissingPackageError(
      f'training needs {" and ".join(missing)}: run `pip install '
      "'vq_jax[train]'`, or `pip install -e '.[train]'` in a checkout."
    )


def is_installed(module: str) -> bool:
  """Returns whether a module is found, without importing it."""
  try:
    return importlib.util.find_spec(module) is not None
  except ValueError:  # it was imported without a spec
    return False
