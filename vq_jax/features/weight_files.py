"""Files with weights that are in no package, and that a person downloads."""

import hashlib
import pathlib
from collections.abc import Iterable

from vq_jax.features import released


def find(
  file: str,
  sha256: str,
  *,
  what: str,
  url: str,
  more_folders: Iterable[pathlib.Path] = (),
) -> pathlib.Path:
  """Finds a file with weights that is in no package, and checks its checksum.

  Args:
    file: its name.
    sha256: its checksum.
    what: the subject of the message if there is no such file, with its verb,
      such as 'RN50 needs RN50.pt'.
    url: the address from which the file is downloaded.
    more_folders: folders that are searched after those of `released.folders`.

  Returns:
    the path of the file.

  Raises:
    MissingWeights: if there is no such file; the message says how to get it.
    ValueError: if its checksum is wrong.
  """
  searched = [*released.folders(), *more_folders]
  for folder in searched:
    path = folder / file
    if path.is_file():
      check(path, sha256, url)
      return path
  raise released.MissingWeights(
    f'{what}, which was not found: download {url} into '
    f'{" or ".join(map(str, searched))}, or set VQ_JAX_WEIGHTS to its folder.'
  )


def check(path: pathlib.Path, sha256: str, url: str) -> None:
  """Checks the checksum of a file with weights that is in no package.

  Raises:
    ValueError: if the checksum is wrong.
    OSError: if the file cannot be read.
  """
  with path.open('rb') as file:
    found = hashlib.file_digest(file, 'sha256').hexdigest()
  if found != sha256:
    raise ValueError(
      f'{path} must have the sha256 {sha256}; got {found}. Download it again '
      f'from {url}.'
    )
