"""The page in a process of its own, and a client that speaks as a browser."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def serving(*arguments: Any) -> Iterator[tuple[str, subprocess.Popen]]:
  """Runs `vqjax demo` with these arguments at a free port.

  Yields:
    the URL and the process.
  """
  command = [sys.executable, '-m', 'vq_jax.cli.main', 'demo']
  command += [*map(str, arguments), '--port', '0']
  process = subprocess.Popen(
    command,
    stdout=subprocess.PIPE,
    text=True,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
  )
  try:
    line = process.stdout.readline()
    found = re.search(r'http://\S+(?=;)', line)
    assert found, line
    yield found[0], process
  finally:
    process.terminate()
    process.wait(timeout=30)
    process.stdout.close()


class Client:
  """One session with the page.

  Attributes:
    url: the URL of the page.
    session: the name of the session, a random one.
    config: the components and events of the page, as a browser gets them.
  """

  def __init__(self, url: str):
    self.url = url
    self.session = uuid.uuid4().hex
    self.config = json.loads(self.get('/config')[1])
    self._parts = {c['id']: c['props'] for c in self.config['components']}

  def get(self, path: str, **headers: str) -> tuple[int, bytes]:
    """The status and the body of a page."""
    return self._send('GET', path, None, headers)

  def post(self, path: str, body: Any, **headers: str) -> tuple[int, bytes]:
    """The status and the body of the answer to a JSON value."""
    headers = {'Content-Type': 'application/json', **headers}
    return self._send('POST', path, json.dumps(body).encode(), headers)

  def upload(self, data: bytes, name: str = 'image.png') -> dict[str, Any]:
    """Uploads a file; returns the value of its component."""
    status, body = self.post_file(data, name)
    assert status == 200, body
    return file_value(json.loads(body)[0])

  def post_file(self, data: bytes, name: str) -> tuple[int, bytes]:
    """The status and the body of the answer to an upload."""
    line = uuid.uuid4().hex
    disposition = f'form-data; name="files"; filename="{name}"'
    body = (
      f'--{line}\r\nContent-Disposition: {disposition}\r\n'
      'Content-Type: application/octet-stream\r\n\r\n'
    ).encode()
    body += data + f'\r\n--{line}--\r\n'.encode()
    headers = {'Content-Type': f'multipart/form-data; boundary={line}'}
    return self._send('POST', '/gradio_api/upload', body, headers)

  def run(self, button: str, **values: Any) -> Any:
    """Clicks a button and waits.

    Args:
      button: the identifier of the button.
      **values: of the controls, by the end of their identifiers; the others
        have their first values.

    Returns:
      the value of the output.

    Raises:
      RuntimeError: with the message that the page shows.
    """
    event = next(
      event
      for event in self.config['dependencies']
      for target, _ in event['targets']
      if self._parts[target].get('elem_id') == button
    )
    data = []
    for number in event['inputs']:
      name = self._parts[number]['elem_id'].partition('-')[2]
      data.append(values.pop(name, self._parts[number].get('value')))
    assert not values, f'no controls {[*values]}'
    body = {
      'data': data,
      'fn_index': event['id'],
      'session_hash': self.session,
    }
    status, answer = self.post('/gradio_api/queue/join', body)
    if status != 200:
      raise RuntimeError(answer.decode())
    return self._wait(json.loads(answer)['event_id'])

  def _wait(self, event_id: str) -> Any:
    query = urllib.parse.urlencode({'session_hash': self.session})
    url = f'{self.url}/gradio_api/queue/data?{query}'
    with urllib.request.urlopen(url, timeout=300) as stream:
      for line in stream:
        if not line.startswith(b'data:'):
          continue
        message = json.loads(line[5:])
        if message.get('msg') != 'process_completed':
          continue
        assert message['event_id'] == event_id, 'an answer to someone else'
        if not message['success']:
          raise RuntimeError(message['output'].get('error'))
        return message['output']['data'][0]
    raise RuntimeError('the stream ended without an answer')

  def _send(self, method, path, body, headers) -> tuple[int, bytes]:
    parts = urllib.parse.urlsplit(self.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
      # A body that is too large is not read to its end.
      with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, path, body, headers)
      answer = connection.getresponse()
      return answer.status, answer.read()
    finally:
      connection.close()


def file_value(path: str) -> dict[str, Any]:
  """The value of a component whose file is at a path of the server."""
  return {'path': path, 'meta': {'_type': 'gradio.FileData'}}
