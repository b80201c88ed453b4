"""Packages that only some functions need, and that may be missing."""

import contextlib
from collections.abc import Iterator

# Names of packages that differ from those of their modules.
_PACKAGES = {
  'PIL': 'pillow',
  'dm_pix': 'dm-pix',
  'sklearn': 'scikit-learn',
  'tensorflow_datasets': 'tensorflow-datasets',
}


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
    raise MissingPackageError(
      f'{purpose} needs the package {package}: run `pip install {package}`.'
    ) from error
