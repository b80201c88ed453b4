"""Released files are downloaded once, resumed, and verified."""

import hashlib
import http.server
import threading

import pytest

import vq_jax
from tests.convert.released import GOLDEN
from vq_jax import convert
from vq_jax.cli import main
from vq_jax.pretrained import download
from vq_jax.pretrained import released

CONTENT = bytes(range(256)) * 8192  # two chunks


class Server(http.server.ThreadingHTTPServer):
  """Serves `files`; ends a connection after `cut` bytes, once."""

  def __init__(self):
    super().__init__(('127.0.0.1', 0), Handler)
    self.files = {'/weights': CONTENT}
    self.cut: int | None = None
    self.ranges: list[str | None] = []

  def get_url(self, name):
    return f'http://127.0.0.1:{self.server_port}/{name}'


class Handler(http.server.BaseHTTPRequestHandler):
  """A server with ranges and ETags."""

  def do_GET(self):
    content = self.server.files.get(self.path)
    if content is None:
      self.send_error(404)
      return
    tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
    wanted = self.headers.get('Range')
    self.server.ranges.append(wanted)
    start = 0
    if wanted and self.headers.get('If-Range') == tag:
      start = int(wanted.removeprefix('bytes=').rstrip('-'))
    self.send_response(206 if start else 200)
    self.send_header('ETag', tag)
    self.send_header('Content-Length', str(len(content) - start))
    self.end_headers()
    self.wfile.write(content[start : self.server.cut])
    self.server.cut = None

  def log_message(self, *args):
    pass


@pytest.fixture
def server(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  with Server() as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def make_file(server, **fields):
  return released.File(
    name='weights.ckpt', url=server.get_url('weights'), megabytes=2, **fields
  )


def test_a_file_is_downloaded_once_and_its_checksum_recorded(server):
  file = make_file(server)
  path = download.fetch(file)
  assert path.read_bytes() == CONTENT
  assert sorted(p.name for p in path.parent.iterdir()) == [
    'weights.ckpt',
    'weights.ckpt.sha256',
  ]
  assert download.fetch(file) == path
  assert server.ranges == [None]
  path.write_bytes(CONTENT[:-1] + b'x')
  with pytest.raises(download.DownloadError, match='damaged or another file'):
    download.fetch(file)


def test_an_interrupted_download_is_continued(server):
  server.cut = 2**20 + 5
  assert download.fetch(make_file(server)).read_bytes() == CONTENT
  assert server.ranges == [None, f'bytes={2**20 + 5}-']


def test_a_file_that_changed_meanwhile_is_downloaded_from_the_start(
  server, monkeypatch
):
  monkeypatch.setattr(download, '_ATTEMPTS', 1)
  server.cut = 2**20
  with pytest.raises(download.DownloadError, match='1 MB are kept'):
    download.fetch(make_file(server))
  server.files['/weights'] = CONTENT[::-1]
  assert download.fetch(make_file(server)).read_bytes() == CONTENT[::-1]


def test_a_pinned_checksum_is_compared_before_the_file_gets_its_name(server):
  good = hashlib.sha256(CONTENT).hexdigest()
  with pytest.raises(download.DownloadError, match='damaged or another file'):
    download.fetch(make_file(server, sha256='0' * 64))
  assert not (download.get_folder() / 'weights.ckpt').exists()
  assert download.fetch(make_file(server, sha256=good)).is_file()


def test_a_web_page_is_no_checkpoint(server):
  server.files['/weights'] = b'<!DOCTYPE html><html>log in</html>'
  with pytest.raises(download.DownloadError, match='gives no checkpoint'):
    download.fetch(make_file(server))


@pytest.mark.parametrize('offline', [True, False])
def test_one_line_says_which_file_to_put_where(
  offline, server, monkeypatch, capsys
):
  url = 'http://127.0.0.1:1/file' if offline else server.get_url('missing')
  file = released.File(name='vq_ds16_c2i.pt', url=url, megabytes=288)
  release = released.Release(
    kind='llamagen-vq', files={'path': file}, source='', licence='mit'
  )
  monkeypatch.setitem(released.RELEASES, 'llamagen-vq16', release)
  assert main.main(['convert', 'llamagen-vq16', '--out', 'run']) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: vq_ds16_c2i.pt (288 MB) cannot be downloaded')
  assert f'{url} on another machine and put it at ' in line
  assert line.endswith(f'{download.get_folder() / file.name}.')


def test_converting_a_release_downloads_it(
  server, tmp_path, monkeypatch, capsys
):
  name = 'maskgit_tokenizer_toy.msgpack'
  server.files[f'/{name}'] = (GOLDEN / name).read_bytes()
  release = released.Release(
    kind='maskgit-tokenizer',
    files={'path': released.File(name=name, url=server.get_url(name))},
    source='https://example.org',
    licence='apache-2.0',
  )
  monkeypatch.setitem(
    released.RELEASES, 'maskgit-tokenizer-imagenet256', release
  )
  run = str(tmp_path / 'run')
  arguments = ['convert', 'maskgit-tokenizer-imagenet256', '--out', run]
  assert main.main(arguments) == 0
  assert vq_jax.load(run).run_config['released']['licence'] == 'apache-2.0'
  assert main.main([*arguments[:2], 'file', '--out', run + '2']) == 1
  assert 'give no file' in capsys.readouterr().err


def test_the_table_of_releases(capsys):
  assert main.main(['download', '--list']) == 0
  table = capsys.readouterr().out
  for name, release in released.RELEASES.items():
    assert name in table
    assert release.kind in convert.KINDS
    assert all(
      file.url.startswith('https://') for file in release.files.values()
    )
