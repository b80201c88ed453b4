"""The part of the interface of Google Cloud Storage that reading needs."""

import contextlib
import http.server
import json
import pathlib
import threading
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
  """Serves a folder as the bucket `bucket`."""

  protocol_version = 'HTTP/1.1'

  def do_GET(self):
    address = urllib.parse.urlsplit(self.path)
    query = dict(urllib.parse.parse_qsl(address.query))
    _, found, name = address.path.partition('/b/bucket/o')
    path = self.server.folder / urllib.parse.unquote(name.lstrip('/'))
    if not found or (name.strip('/') and not path.is_file()):
      self.answer(404, b'{"error": {"code": 404, "message": "not found"}}')
    elif not name.strip('/'):
      prefix, delimiter = query.get('prefix', ''), query.get('delimiter')
      self.answer(200, self.list_objects(prefix, delimiter))
    elif query.get('alt') == 'media':
      self.answer_content(path.read_bytes())
    else:
      self.answer(200, json.dumps(self.describe(path)).encode())

  def describe(self, path):
    return {
      'kind': 'storage#object',
      'name': path.relative_to(self.server.folder).as_posix(),
      'bucket': 'bucket',
      'size': str(path.stat().st_size),
      'generation': '1',
      'updated': '2026-01-01T00:00:00Z',
    }

  def list_objects(self, prefix, delimiter):
    items, prefixes = [], set()
    for path in sorted(self.server.folder.rglob('*')):
      name = path.relative_to(self.server.folder).as_posix()
      if path.is_dir() or not name.startswith(prefix):
        continue
      head, found, _ = name.removeprefix(prefix).partition(delimiter or '\0')
      if found:
        prefixes.add(prefix + head + found)
      else:
        items.append(self.describe(path))
    found = {'items': items, 'prefixes': sorted(prefixes)}
    return json.dumps({'kind': 'storage#objects', **found}).encode()

  def answer_content(self, data):
    wanted = self.headers.get('Range')
    if wanted is None:
      self.answer(200, data)
      return
    first, last = wanted.removeprefix('bytes=').split('-')
    start = int(first) if first else len(data) - int(last)
    end = int(last) + 1 if first and last else len(data)
    body = data[start:end]
    where = f'bytes {start}-{start + len(body) - 1}/{len(data)}'
    self.answer(206, body, {'Content-Range': where})

  def answer(self, status, body, headers=()):
    self.send_response(status)
    for name, value in dict(headers).items():
      self.send_header(name, value)
    self.send_header('Content-Length', str(len(body)))
    self.send_header('x-goog-generation', '1')
    self.end_headers()
    self.wfile.write(body)

  def log_message(self, *args):
    pass


@contextlib.contextmanager
def serve(folder: pathlib.Path):
  """Yields the address of a server of the bucket."""
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
    server.daemon_threads, server.block_on_close = True, False
    server.folder = folder
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()
