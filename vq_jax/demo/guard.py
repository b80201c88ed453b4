"""Refuses requests that the page does not make, before Gradio sees them."""

import os
import pathlib
import urllib.parse
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import MutableMapping
from typing import Any

from vq_jax.demo import inputs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_API = '/gradio_api'
_FILE = f'{_API}/file='
_READ = frozenset(
  {
    '/',
    '/config',
    '/favicon.ico',
    '/robots.txt',
    '/theme.css',
    f'{_API}/info',
    f'{_API}/queue/data',
    f'{_API}/startup-events',
    f'{_API}/upload_progress',
  }
)
_READ_BELOW = ('/assets/', '/static/', f'{_API}/heartbeat/', _FILE)
_WRITE = frozenset(
  {
    f'{_API}/cancel',
    f'{_API}/queue/join',
    f'{_API}/reset',
    f'{_API}/upload',
  }
)
_LOOPBACK = frozenset({'127.0.0.1', '::1', 'localhost'})
_AROUND_UPLOAD = 2**20  # bytes of a request besides those of its file

# Whatever a page or a theme of Gradio refers to, the browser loads nothing from
# other servers.
_HEADERS = (
  (
    b'content-security-policy',
    b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:",
  ),
  (b'referrer-policy', b'no-referrer'),
  (b'x-content-type-options', b'nosniff'),
)


class Guard:
  """An ASGI application around that of Gradio, with these rules.

  - Only the routes that the page needs exist. Gradio has more, among them some
    that fetch URLs or process videos.
  - Files are served from the folder of uploads alone.
  - A request has at most the size of an upload.
  - A page of another site cannot send requests: `Origin` must be the host, and
    at a loopback address `Host` must be one too, so that no other name can
    resolve to it.
  - The browser may not load anything from other servers.

  Args:
    app: the application of Gradio.
    limits: the limits of what clients may send.
    host: the address at which the page is served.
    folder: the folder of uploads.
  """

  def __init__(
    self,
    app: App,
    limits: inputs.Limits,
    *,
    host: str,
    folder: str | os.PathLike,
  ):
    """Takes the application and the limits."""
    self._app = app
    self._limits = limits
    self._only_loopback = host in _LOOPBACK
    self._folder = pathlib.Path(folder).resolve()

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request, or hands it to Gradio."""
    if scope['type'] == 'lifespan':
      await self._app(scope, receive, send)
      return
    if scope['type'] != 'http':
      return  # Gradio needs no web sockets
    headers = {k.decode('latin-1'): v for k, v in scope['headers']}
    refused = self._refusal(scope, headers)
    if refused is not None:
      await _answer(send, *refused)
      return

    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
      if message['type'] == 'http.response.start':
        message['headers'] = [*message.get('headers', ()), *_HEADERS]
      await send(message)

    await self._app(scope, self._limited(receive), send_with_headers)

  def _refusal(
    self, scope: Scope, headers: dict[str, bytes]
  ) -> tuple[int, str] | None:
    """Returns the status and the reason of a refusal; None if it is right."""
    host = headers.get('host', b'').decode('latin-1')
    name = urllib.parse.urlsplit(f'//{host}').hostname or ''
    if self._only_loopback and name not in _LOOPBACK:
      return 403, 'this page is served to this machine alone.'
    origin = headers.get('origin')
    if origin is not None:
      if urllib.parse.urlsplit(origin.decode('latin-1')).netloc != host:
        return 403, 'requests of other sites are refused.'
    length = headers.get('content-length', b'0')
    if not length.isdigit() or int(length) > self._most:
      return 413, (
        f'an upload may have at most {self._limits.max_megabytes:g} MB.'
      )
    return self._route_refusal(scope['method'], scope['path'])

  def _route_refusal(self, method: str, path: str) -> tuple[int, str] | None:
    """Returns why a path is refused; None if the page needs it."""
    if method == 'POST' and path in _WRITE:
      return None
    if method not in ('GET', 'HEAD'):
      return 404, 'there is nothing here.'
    if path.startswith(_FILE):
      file = pathlib.Path(path.removeprefix(_FILE))
      try:
        inside = file.resolve().is_relative_to(self._folder)
      except (OSError, RuntimeError, ValueError):
        inside = False
      return None if inside else (403, 'this file is not served.')
    if path in _READ or path.startswith(_READ_BELOW):
      return None
    return 404, 'there is nothing here.'

  @property
  def _most(self) -> int:
    return self._limits.max_bytes + _AROUND_UPLOAD

  def _limited(self, receive: Receive) -> Receive:
    """Returns `receive` for bodies whose length was not announced truly."""
    received = 0

    async def limited() -> MutableMapping[str, Any]:
      nonlocal received
      message = await receive()
      received += len(message.get('body', b''))
      return message if received <= self._most else {'type': 'http.disconnect'}

    return limited


async def _answer(send: Send, status: int, text: str) -> None:
  """Sends a line of text."""
  body = text.encode()
  headers = [
    (b'content-type', b'text/plain; charset=utf-8'),
    (b'content-length', str(len(body)).encode()),
    (b'connection', b'close'),
  ]
  await send(
    {'type': 'http.response.start', 'status': status, 'headers': headers}
  )
  await send({'type': 'http.response.body', 'body': body})
