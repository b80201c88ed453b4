"""Requests that the page does not make never reach Gradio."""

import asyncio

import pytest

from vq_jax.demo import guard
from vq_jax.demo import inputs

LIMITS = inputs.Limits(max_megabytes=1)


def request(
  tmp_path, path, *, method='GET', served='127.0.0.1', body=(), **headers
):
  """The status, the headers and the size of the body that was handed on."""
  (tmp_path / 'uploads').mkdir(exist_ok=True)
  size, sent = 0, []

  async def app(scope, receive, send):
    nonlocal size
    message = {'more_body': True}
    while message.get('more_body'):
      message = await receive()
      size += len(message.get('body', b''))
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})

  messages = [
    {'type': 'http.request', 'body': part, 'more_body': True} for part in body
  ]
  messages.append({'type': 'http.request', 'body': b''})

  async def receive():
    return messages.pop(0)

  async def send(message):
    sent.append(message)

  headers = {'host': '127.0.0.1:7860', **headers}
  scope = {
    'type': 'http',
    'method': method,
    'path': path,
    'headers': [
      (k.replace('_', '-').encode(), v.encode()) for k, v in headers.items()
    ],
  }
  application = guard.Guard(
    app, LIMITS, host=served, folder=tmp_path / 'uploads'
  )
  asyncio.run(application(scope, receive, send))
  return sent[0]['status'], dict(sent[0]['headers']), size


@pytest.mark.parametrize(
  'path', ['/', '/config', '/assets/index.js', '/gradio_api/queue/data']
)
def test_the_page_is_served_and_loads_nothing_from_elsewhere(tmp_path, path):
  status, headers, _ = request(tmp_path, path)
  assert status == 200
  policy = headers[b'content-security-policy'].decode()
  assert policy.startswith("default-src 'self'") and 'http' not in policy


@pytest.mark.parametrize(
  ('method', 'path'),
  [
    ('GET', '/gradio_api/proxy=https://example.org/'),
    ('GET', '/monitoring'),
    ('GET', '/gradio_api/deep_link'),
    ('POST', '/gradio_api/process_recording'),
    ('POST', '/gradio_api/component_server'),
    ('POST', '/gradio_api/run/predict'),
    ('POST', '/'),
    ('DELETE', '/gradio_api/queue/join'),
  ],
)
def test_other_routes_do_not_exist(tmp_path, method, path):
  assert request(tmp_path, path, method=method)[0] == 404


def test_only_uploads_are_files(tmp_path):
  folder = tmp_path / 'uploads'
  folder.mkdir()
  (folder / 'link').symlink_to('/etc/passwd')
  route = '/gradio_api/file='
  assert request(tmp_path, f'{route}{folder}/image.png')[0] == 200
  for path in (
    '/etc/passwd',
    'setup.py',
    f'{folder}/../secret',
    f'{folder}/link',
    f'{folder}s/image.png',
    'http://127.0.0.1/',
    'file:///etc/passwd',
    '\0',
    '',
  ):
    assert request(tmp_path, f'{route}{path}')[0] == 403, path


def test_requests_have_a_largest_size(tmp_path):
  upload = {'path': '/gradio_api/upload', 'method': 'POST'}
  assert request(tmp_path, **upload, content_length='1000000')[0] == 200
  assert request(tmp_path, **upload, content_length='3000000')[0] == 413
  assert request(tmp_path, **upload, content_length='-1')[0] == 413
  # The length may be wrong or missing: then the connection ends.
  parts = [b'\0' * 500_000] * 20
  _, _, size = request(tmp_path, **upload, body=parts)
  assert size <= 2_200_000


def test_other_sites_cannot_use_the_page(tmp_path):
  join = {'path': '/gradio_api/queue/join', 'method': 'POST'}
  own = 'http://127.0.0.1:7860'
  assert request(tmp_path, **join, origin=own)[0] == 200
  assert request(tmp_path, **join, origin='http://evil.test')[0] == 403
  assert request(tmp_path, **join, origin='null')[0] == 403
  # A name that resolves to this machine is refused, unless all are served.
  assert request(tmp_path, '/', host='evil.test:7860')[0] == 403
  assert request(tmp_path, '/', host='')[0] == 403
  assert request(tmp_path, '/', host='lab:7860', served='0.0.0.0')[0] == 200
  assert request(tmp_path, '/', host='localhost:7860')[0] == 200
