"""Downloads of released checkpoints into the cache: resumed and verified.

The files of all releases are in one folder, since some share a tokenizer:

    ~/.cache/vq_jax/released/FILE
    ~/.cache/vq_jax/released/FILE.sha256   the checksum of the first download
    ~/.cache/vq_jax/released/FILE.part     an unfinished download
"""

import contextlib
import fcntl
import hashlib
import http.client
import json
import pathlib
import urllib.error
import urllib.request
from collections.abc import Iterator

from vq_jax._version import __version__
from vq_jax.pretrained import released
from vq_jax.utils import file_kinds
from vq_jax.utils import paths

_CHUNK = 2**20
_TIMEOUT = 30.0  # seconds without an answer
_ATTEMPTS = 3  # of which each continues the one before


class DownloadError(ValueError):
  """A file could not be downloaded; the message says what to do."""


def get_folder() -> pathlib.Path:
  """Returns the folder of the downloaded files."""
  return paths.get_cache_folder() / 'released'


def download(name: str) -> dict[str, pathlib.Path]:
  """Returns the files of a release, which are downloaded if necessary.

  Args:
    name: a key of `released.RELEASES`.

  Returns:
    parameter of `vq_jax.convert.load` -> file.

  Raises:
    DownloadError: if a file cannot be downloaded, or is not the expected one.
    ValueError: if the name is unknown.
  """
  files = released.lookup(name).files
  return {key: fetch(file) for key, file in files.items()}


def fetch(file: released.File) -> pathlib.Path:
  """Returns a file of the cache, and downloads it if it is not there.

  Args:
    file: its name, address and checksum.

  Raises:
    DownloadError: see `download`.
  """
  path = get_folder() / file.name
  if not path.is_file():
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
      part = _download(file, path)
      _check_kind(file, part)
      _check_sum(file, path, part)
      part.rename(path)
      _etag_path(part).unlink(missing_ok=True)
  else:
    _check_sum(file, path, path)
  return path


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  """Keeps other processes from writing the same file."""
  lock = path.with_name(f'{path.name}.lock')
  with lock.open('w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise DownloadError(
        f'another process is downloading {path}; wait for it.'
      ) from error
    yield
    lock.unlink()


def _download(file: released.File, path: pathlib.Path) -> pathlib.Path:
  """Downloads a file, and returns the path of the complete part."""
  part = path.with_name(f'{path.name}.part')
  for attempt in range(_ATTEMPTS):
    before = part.stat().st_size if part.is_file() else 0
    try:
      _continue(file, part)
      return part
    except (OSError, http.client.HTTPException) as error:
      after = part.stat().st_size if part.is_file() else 0
      if attempt + 1 < _ATTEMPTS and after > before:
        continue  # the connection was interrupted
      size = '' if file.megabytes is None else f' ({file.megabytes} MB)'
      state = f' {after / 1e6:.0f} MB are kept.' if after else ''
      raise DownloadError(
        f'{file.name}{size} cannot be downloaded: {_reason(error)}.{state} Run '
        f'the same command again, or download {file.url} on another machine '
        f'and put it at {path}.'
      ) from error
  raise AssertionError('the last attempt returns or raises')


def _continue(file: released.File, part: pathlib.Path) -> None:
  """Appends what is missing to the part.

  Raises:
    OSError: if there is no connection, or it was interrupted.
    HTTPException: if the answer is not HTTP.
  """
  start = part.stat().st_size if part.is_file() else 0
  headers = {'User-Agent': f'vq_jax/{__version__}'}
  etag = _etag_path(part)
  if start and etag.is_file():
    headers['Range'] = f'bytes={start}-'
    headers['If-Range'] = etag.read_text()  # or the whole file is sent
  request = urllib.request.Request(file.url, headers=headers)
  with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
      start = 0
    etag.unlink(missing_ok=True)
    if tag := answer.headers.get('ETag'):
      etag.write_text(tag)
    length = answer.headers.get('Content-Length')
    total = None if length is None else start + int(length)
    with part.open('ab' if start else 'wb') as out:
      _copy(answer, out, file.name, start, total)
  if total is not None and part.stat().st_size != total:
    raise OSError(
      f'the connection ended after {part.stat().st_size} of {total} bytes'
    )


def _copy(answer, out, name: str, start: int, total: int | None) -> None:
  """Copies the answer to a file, with a progress bar."""
  import tqdm  # a moment to import

  with tqdm.tqdm(
    desc=name, initial=start, total=total, unit='B', unit_scale=True
  ) as bar:
    while chunk := answer.read(_CHUNK):
      out.write(chunk)
      bar.update(len(chunk))


def _etag_path(part: pathlib.Path) -> pathlib.Path:
  """Returns the file with the version of which the part is the beginning."""
  return part.with_name(f'{part.name}.etag')


def _reason(error: Exception) -> str:
  """Returns the reason of an error of urllib in one line."""
  if isinstance(error, urllib.error.HTTPError):
    return f'the server answers {error.code} {error.reason}'
  reason = getattr(error, 'reason', None) or error
  text = ' '.join(str(reason).split()) or type(error).__name__
  return text.rstrip('.')


def _check_kind(file: released.File, part: pathlib.Path) -> None:
  """Raises DownloadError if the server sent a web page, for example."""
  other = file_kinds.describe_non_weights(file_kinds.read_head(part))
  if other is not None and not file.name.endswith('.yaml'):
    part.unlink()
    raise DownloadError(
      f'{file.url} gives no checkpoint: it is {other}. Download it in a '
      f'browser and put it at {get_folder() / file.name}.'
    )


def _check_sum(
  file: released.File, path: pathlib.Path, found: pathlib.Path
) -> None:
  """Compares a file with its checksum, or records that of the first download.

  Raises:
    DownloadError: if it is another file.
  """
  record = path.with_name(f'{path.name}.sha256')
  expected = file.sha256
  if expected is None and record.is_file():
    expected = json.loads(record.read_text()).get(file.url)
  with found.open('rb') as content:
    digest = hashlib.file_digest(content, 'sha256').hexdigest()
  if expected is None:
    paths.write_text(record, json.dumps({file.url: digest}) + '\n')
  elif digest != expected:
    known = 'is' if file.sha256 else 'was at the first download'
    raise DownloadError(
      f'{found} is damaged or another file: its SHA-256 is {digest}, and that '
      f'of {file.url} {known} {expected}. Remove it and run the same command '
      f'again{"" if file.sha256 else f", or remove {record} to accept it"}.'
    )
