"""The page in a browser, and as a server that gives nothing away."""

import base64
import dataclasses
import http.server
import io
import json
import pathlib
import shutil
import threading

import jax
import numpy as np
import pytest
from PIL import Image

pytest.importorskip('gradio')

import vq_jax  # noqa: E402
from tests.benchmarks import demo_load  # noqa: E402
from tests.demo import client as client_lib  # noqa: E402
from tests.demo import images  # noqa: E402
from vq_jax.demo import actions  # noqa: E402
from vq_jax.demo import app  # noqa: E402
from vq_jax.demo import inputs  # noqa: E402
from vq_jax.demo import page as page_lib  # noqa: E402
from vq_jax.demo import views  # noqa: E402
from vq_jax.utils import images as images_lib  # noqa: E402

pytestmark = pytest.mark.slow

FEW = {'num': 2, 'steps': 3, 'trace': False}


@pytest.fixture(scope='module')
def url(maskgit):
  limits = ('--max-megabytes', '1', '--max-megapixels', '4')
  with client_lib.serving(maskgit, *limits) as (url, _):
    yield url


@pytest.fixture(scope='module')
def model(maskgit):
  return vq_jax.load(maskgit)


@pytest.fixture
def client(url):
  return client_lib.Client(url)


@pytest.fixture(scope='module')
def browser():
  sync_api = pytest.importorskip('playwright.sync_api')
  path = shutil.which('chromium')
  if path is None:
    pytest.skip("needs Debian's chromium")
  with sync_api.sync_playwright() as playwright:
    found = playwright.chromium.launch(
      executable_path=path,
      args=[
        '--no-sandbox',
        '--use-fake-device-for-media-stream',
        '--use-fake-ui-for-media-stream',
      ],
    )
    yield found
    found.close()


@pytest.fixture
def page(browser, url):
  """The page, which must make no request to another server."""
  context = browser.new_context(permissions=['camera'])
  opened = context.new_page()
  opened.set_default_timeout(120_000)
  addresses, errors = [], []
  opened.on('request', lambda request: addresses.append(request.url))
  opened.on('pageerror', lambda error: errors.append(str(error)))
  opened.goto(url, wait_until='networkidle')
  yield opened
  context.close()
  local = (url, 'data:', 'blob:')
  assert not [x for x in addresses if not x.startswith(local)]
  assert not errors


def pixels(page, selector: str) -> np.ndarray:
  """The pixels of the image at a selector, when it is there."""
  source = page.locator(selector).first.get_attribute('src')
  return np.asarray(Image.open(io.BytesIO(decode(source))))


def decode(url: str) -> bytes:
  return base64.b64decode(url.partition('base64,')[2])


def set_number(page, control: str, value: int) -> None:
  page.locator(f'#{control} input[type=number]').fill(str(value))


def paint(page, rows: slice) -> None:
  """Paints all of some rows of pixels, with a brush of one pixel."""
  page.locator('.vq-paint-size').evaluate('x => x.value = 1')
  box = page.locator('.vq-paint-mask').bounding_box()
  cell = box['height'] / 8
  for row in range(8)[rows]:
    y = box['y'] + (row + 0.5) * cell
    page.mouse.move(box['x'] + 0.5 * cell, y)
    page.mouse.down()
    page.mouse.move(box['x'] + 7.5 * cell, y, steps=4)
    page.mouse.up()


def test_a_click_samples_the_images_of_the_seed(page, model):
  set_number(page, 'sample-seed', 7)
  set_number(page, 'sample-num', 2)
  page.click('#sample-run')
  shown = pixels(page, '#sample-output img.vq-result')
  settings = actions.Settings(**demo_load.defaults(model), seed=7, num=2)
  settings = dataclasses.replace(settings, steps=model.info.sampler.steps)
  wanted = images_lib.grid(actions.sample(model, settings)[-1])
  np.testing.assert_array_equal(shown, wanted[..., 0])
  steps = page.locator('#sample-output img.vq-step')
  assert steps.count() == model.info.sampler.steps
  assert page.locator('#sample-output img.vq-film').count() == 1


def test_painted_pixels_alone_are_sampled_anew(page):
  page.get_by_role('tab', name='Edit').click()
  page.click('#edit-random')
  page.wait_for_selector('.vq-painter:not(.vq-empty)')
  set_number(page, 'edit-num', 1)
  paint(page, slice(5, 8))
  page.click('#inpaint-run')
  edited = pixels(page, '#edit-output img.vq-result')[2:10, 2:10]
  drawn = page.evaluate(
    "document.querySelector('.vq-paint-image').toDataURL('image/png')"
  )
  image = np.asarray(Image.open(io.BytesIO(decode(drawn))))[..., 0]
  np.testing.assert_array_equal(edited[:5], image[:5])
  assert (edited[5:] != image[5:]).any()
  # Outpainting adds pixels at the right, and keeps the others.
  page.click('#outpaint-run')
  wider = pixels(page, '#edit-output img.vq-result[width="16"]')
  assert wider.shape == (12, 16)
  np.testing.assert_array_equal(wider[2:10, 2:10], image)


def test_an_uploaded_image_is_reconstructed(page, tmp_path, model):
  page.get_by_role('tab', name='Reconstruct').click()
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (8, 8, 1), np.uint8)
  file = tmp_path / 'image.png'
  file.write_bytes(images.png(image))
  page.set_input_files('#rec-upload input[type=file]', file)
  page.wait_for_selector('#rec-upload img')
  page.click('#rec-run')
  shown = pixels(page, '#rec-output img.vq-result')
  wanted = actions.reconstruct(model, image).decoded
  np.testing.assert_array_equal(shown, wanted[..., 0])
  assert page.locator('#rec-output svg.vq-tokens').count() == 1


def test_the_camera_takes_an_image_to_edit(page, model):
  page.get_by_role('tab', name='Edit').click()
  upload = page.locator('#edit-upload')
  upload.get_by_label('Capture from camera').click()
  upload.get_by_text('Click to Access Webcam').click()
  page.wait_for_function(
    "document.querySelector('#edit-upload video')?.currentTime > 0"
  )
  upload.get_by_label('capture photo').click()
  page.wait_for_selector('.vq-painter:not(.vq-empty)')
  canvas = page.locator('.vq-paint-image')
  size = canvas.evaluate('x => [x.height, x.width]')
  assert tuple(size) == model.info.image_shape[:2]


def test_a_bomb_is_one_line(page, tmp_path):
  page.get_by_role('tab', name='Edit').click()
  file = tmp_path / 'bomb.png'
  file.write_bytes(images.png_header(50_000, 50_000))
  page.set_input_files('#edit-upload input[type=file]', file)
  page.get_by_text('at most 4 million pixels').first.wait_for()


def test_no_file_of_the_server_can_be_read(client, maskgit, tmp_path):
  secret = tmp_path / 'secret.png'
  secret.write_bytes(images.png(np.zeros((8, 8, 1), np.uint8)))
  config = pathlib.Path(maskgit) / 'config.json'
  for path in (secret, config, '/etc/passwd', 'setup.py', '../../etc/passwd'):
    for route in ('/gradio_api/file=', '/file=', '/static/', '/assets/'):
      status, body = client.get(f'{route}{path}')
      assert status in (403, 404), (route, path, body[:100])
  # Nor through a component, whether it takes files or not.
  value = client_lib.file_value(str(secret))
  for extra in ({}, {'is_stream': True}):
    with pytest.raises(RuntimeError):
      client.run('rec-run', upload=value | extra)
    with pytest.raises(RuntimeError):
      client.run('inpaint-run', painter=value | extra, **FEW)
  # What was uploaded is served to who knows its address.
  own = client.upload(secret.read_bytes())
  status, body = client.get(f'/gradio_api/file={own["path"]}')
  assert (status, body) == (200, secret.read_bytes())


def test_no_url_is_fetched(client):
  asked = []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      asked.append(self.path)
      self.send_error(404)

  with http.server.HTTPServer(('127.0.0.1', 0), Handler) as other:
    threading.Thread(target=other.serve_forever, daemon=True).start()
    address = f'http://127.0.0.1:{other.server_port}/image.png'
    for extra in ({}, {'url': address}, {'is_stream': True}):
      value = client_lib.file_value(address) | extra
      with pytest.raises(RuntimeError):
        client.run('rec-run', upload=value)
      with pytest.raises(RuntimeError):
        client.run('inpaint-run', painter=value, **FEW)
    assert client.get(f'/gradio_api/file={address}')[0] == 403
    other.shutdown()
  assert not asked


def test_bad_requests_are_refused_and_the_page_lives_on(client, model):
  status, body = client.post_file(b'\0' * 3_000_000, 'image.png')
  assert status == 413 and b'at most 1 MB' in body
  assert client.post_file(b'\0' * 1_500_000, 'image.png')[0] == 413
  for wrong in ({'steps': 1000}, {'order': 'x'}, {'label': 9}, {'num': 'x'}):
    with pytest.raises(RuntimeError):
      client.run('sample-run', **{**FEW, **wrong})
  with pytest.raises(RuntimeError, match='choose an image first'):
    client.run('inpaint-run', painter=None, **FEW)
  with pytest.raises(RuntimeError, match='choose the image again'):
    client.run('inpaint-run', painter=json.dumps({'image': 'x'}), **FEW)
  text = inputs.encode_painting(np.zeros(model.info.image_shape, np.uint8))
  with pytest.raises(RuntimeError, match='paint over'):
    client.run('inpaint-run', painter=text, **FEW)
  assert images.shown(client.run('sample-run', **FEW), 'result')


def test_clients_get_their_own_answers(url, model):
  requests = demo_load.make_requests(model, 12, kinds=1)
  expected = [request.expected(model) for request in requests]
  tally = demo_load.measure(url, 'self', requests, expected, clients=4)
  assert not tally.errors and not tally.wrong
  assert len(tally.seconds) == 12


def test_two_models_are_shown_side_by_side(model, tokenizer):
  settings = actions.Settings(num=1)
  noise = jax.tree.map(lambda x: -x, model.variables['prior'])
  other = dataclasses.replace(
    model, variables={**model.variables, 'prior': noise}
  )
  both = page_lib.Page({'one': model, 'two': other}, inputs.Limits())
  html = both.show(
    both.samplers,
    lambda model: actions.sample(model, settings),
    views.sampled,
    settings,
  )
  shown = images.shown(html, 'result')
  wanted = [actions.sample(x, settings)[-1, 0] for x in (model, other)]
  for grid, image in zip(shown, wanted, strict=True):
    np.testing.assert_array_equal(grid[2:-2, 2:-2], image[..., 0])
  assert (wanted[0] != wanted[1]).any()
  # An autoencoder alone neither samples nor edits.
  alone = page_lib.Page({'one': vq_jax.load(tokenizer)}, inputs.Limits())
  assert not alone.samplers and not alone.editors
  app.build({'one': vq_jax.load(tokenizer)})
  for field, value in (
    ('image_shape', (16, 16, 1)),
    ('class_names', ('other', 'names', 'here')),
  ):
    info = dataclasses.replace(model.info, **{field: value})
    wrong = dataclasses.replace(model, info=info)
    with pytest.raises(ValueError, match='compared must have'):
      app.build({'one': model, 'two': wrong})
