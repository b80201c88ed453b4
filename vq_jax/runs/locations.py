"""Where a run is: a local folder, this package, or a remote address.

    runs/maskgit                 a run folder on this machine
    fashion                      a model that is installed with the package
    gs://bucket/runs/maskgit     a run folder in Google Cloud Storage
    hf://org/name[@revision]     a model repository of the Hugging Face Hub

The autoencoder of a prior is a run of its own: `fashion/autoencoder` or
`hf://org/name/autoencoder`.
"""

import logging
import os
import pathlib
import re
import socket
import urllib.parse
import urllib.request

from vq_jax import pretrained
from vq_jax.runs import layout
from vq_jax.utils import packages
from vq_jax.utils import paths

# What is downloaded of a repository: all that `vqjax export` writes, and all of
# a run folder that loading needs. In these patterns, * matches slashes, too.
_FILES = ('*.json', '*.md', '*.safetensors', '*checkpoints/*')
_UNUSED = ('*checkpoints/*/training/*',)  # the state of the optimizer

_GOOGLE_STORAGE = 'https://storage.googleapis.com'
_TIMEOUT = 5.0  # seconds for a connection


def resolve(source: str | os.PathLike) -> pathlib.Path:
  """Returns the run folder that a name or an address stands for.

  A local run folder is preferred to a packaged model of the same name.

  Example:
    >>> resolve('runs/maskgit').as_posix()
    'runs/maskgit'

  Args:
    source: a local folder, the name of a packaged model, `gs://...` or
      `hf://org/name[@revision]`.

  Returns:
    the folder. For `gs://` it is an `etils.epath.Path`, which is read remotely;
    a repository of Hugging Face is downloaded into the cache of that Hub.

  Raises:
    RunError: if the address has another form, or the repository cannot be
      downloaded.
    MissingPackageError: if a package is missing that the address needs.
  """
  address = os.fspath(source)
  scheme, separator, rest = address.partition('://')
  if not separator:
    folder = pathlib.Path(source)
    packaged = pretrained.find_packaged(address)
    if packaged is None or (folder / layout.CONFIG).is_file():
      return folder
    return packaged
  if scheme == 'gs':
    return _open_bucket(address)
  if scheme == 'hf':
    return _download_repository(rest)
  raise layout.RunError(
    f'{address}: a run is a local folder, {_describe_packaged()}, gs://... or '
    f'hf://org/name; got an address that starts with {scheme}://.'
  )


def get_output_folder(source: str | os.PathLike) -> pathlib.Path:
  """Returns the local folder for results about a run, such as evaluations.

  Args:
    source: see `resolve`.

  Returns:
    the run folder itself if it is local and not a part of this package, and
    else `runs/<name>`.
  """
  address = os.fspath(source)
  _, is_address, rest = address.partition('://')
  if is_address:
    name = rest.rstrip('/').rpartition('/')[2]
  elif resolve(source) == pathlib.Path(source):
    return pathlib.Path(source)
  else:
    name = address
  return pathlib.Path('runs', name)


def _describe_packaged() -> str:
  """Returns the names of the packaged models for a message."""
  names = ', '.join(map(repr, pretrained.list_packaged()))
  return f'a packaged model ({names or "none is installed"})'


def _open_bucket(address: str) -> pathlib.Path:
  """Returns the path of a folder in Google Cloud Storage."""
  with packages.required_for(f'reading {address}'):
    import gcsfs  # noqa: F401, which etils uses for gs://
  # It logs tracebacks beside the error that it raises.
  logging.getLogger('gcsfs').setLevel(logging.CRITICAL)
  folder = paths.make(address)
  try:
    _check_connection()
    (folder / layout.CONFIG).exists()
  # Errors of credentials, of HTTP and of the connection have no common class.
  except Exception as error:
    raise layout.RunError(
      f'{address} cannot be read: {_first_line(error)} Check the address, the '
      'connection, and `gcloud auth application-default login`.'
    ) from error
  return folder


def _check_connection() -> None:
  """Raises OSError if Google Cloud Storage cannot be reached.

  gcsfs and the search for credentials would try again for a minute. Where a
  proxy is set, the connection is left to them.
  """
  if urllib.request.getproxies():
    return
  endpoint = os.environ.get('STORAGE_EMULATOR_HOST', _GOOGLE_STORAGE)
  if '://' not in endpoint:
    endpoint = f'http://{endpoint}'
  url = urllib.parse.urlsplit(endpoint)
  port = url.port or (443 if url.scheme == 'https' else 80)
  try:
    socket.create_connection((url.hostname, port), _TIMEOUT).close()
  except OSError as error:
    raise ConnectionError(
      f'there is no connection to {url.hostname} ({error})'
    ) from error


def _download_repository(name: str) -> pathlib.Path:
  """Downloads a repository of Hugging Face, and returns its local folder."""
  match = re.fullmatch(r'([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.+))?', name)
  if match is None:
    raise layout.RunError(
      f'hf://{name}: the address of a model of Hugging Face must be '
      'hf://org/name or hf://org/name@revision.'
    )
  repository, revision, part = match.groups()
  with packages.required_for(f'loading hf://{name}'):
    import huggingface_hub
  try:
    folder = huggingface_hub.snapshot_download(
      repository,
      revision=revision,
      allow_patterns=list(_FILES),
      ignore_patterns=list(_UNUSED),
    )
  # The errors of the Hub, of its HTTP client and of the disk are OSErrors or
  # ValueErrors.
  except (OSError, ValueError) as error:
    raise layout.RunError(
      f'hf://{name} cannot be downloaded: {_first_line(error)} Check the name, '
      'the connection, and `hf auth login` for a private repository.'
    ) from error
  return pathlib.Path(folder, part or '')


def _first_line(error: Exception) -> str:
  """Returns the first line of a message, as a sentence."""
  line, *_ = str(error).strip().splitlines() or [type(error).__name__]
  return f'{line.rstrip(".:")}.'
