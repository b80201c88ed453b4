"""What a browser sends is decoded within limits, or refused with a line."""

import base64
import json

import numpy as np
import pytest

from tests.demo import images
from vq_jax.demo import inputs

LIMITS = inputs.Limits(max_megabytes=0.01, max_megapixels=1)


def write(tmp_path, data):
  path = tmp_path / 'upload'
  path.write_bytes(data)
  return path


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (images.png_header(2000, 1000), r'at most 1 million .*has 2000 x 1000'),
    (images.png_header(60_000, 60_000), 'at most 1 million pixels'),
    (b'\0' * 10_001, r'at most 0\.01 MB'),
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n', 'not an image'),
    (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'not an image'),
    (b'', 'not an image'),
    (images.png_header(100, 100), 'cannot be read|truncated|could not be'),
  ],
  ids=['pixels', 'bomb', 'bytes', 'EPS', 'SVG', 'empty', 'truncated'],
)
def test_a_bad_upload_is_refused(tmp_path, data, message):
  with pytest.raises(ValueError, match=message) as error:
    inputs.read_upload(write(tmp_path, data), LIMITS)
  assert '\n' not in str(error.value)


def test_an_upload_is_decoded(tmp_path):
  pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
  path = write(tmp_path, images.png(pixels))
  np.testing.assert_array_equal(inputs.read_upload(path, LIMITS), pixels)
  with pytest.raises(ValueError, match='upload it again'):
    inputs.read_upload(tmp_path / 'gone', LIMITS)


def test_fitting_crops_the_centre():
  image = np.zeros((10, 30, 3), np.uint8)
  image[:, 10:20] = 200
  np.testing.assert_array_equal(inputs.fit(image, (10, 10, 3)), image[:, 10:20])
  assert (inputs.fit(image, (5, 5, 1)) == 200).all()
  same = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
  np.testing.assert_array_equal(inputs.fit(same, (8, 6, 3)), same)


@pytest.mark.parametrize('size', [(1, 100_000), (100_000, 1), (1, 1)])
def test_fitting_takes_any_aspect(size):
  image = np.full((*size, 3), 7, np.uint8)
  assert (inputs.fit(image, (64, 64, 3)) == 7).all()


@pytest.mark.parametrize('channels', [1, 3])
def test_a_painting_keeps_all_pixels(channels):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (6, 4, channels), np.uint8)
  mask = rng.random((6, 4)) < 0.5
  text = inputs.encode_painting(image)
  np.testing.assert_array_equal(
    inputs.decode_painting(text, image.shape).image, image
  )
  paint = np.zeros((6, 4, 4), np.uint8)
  paint[mask] = [255, 90, 31, 255]
  parts = json.loads(text)
  parts['mask'] = base64.b64encode(images.png(paint)).decode()
  found = inputs.decode_painting(json.dumps(parts), image.shape)
  np.testing.assert_array_equal(found.mask, mask)
  np.testing.assert_array_equal(found.image, image)


def encoded(data: bytes) -> str:
  return json.dumps({'image': base64.b64encode(data).decode(), 'mask': None})


@pytest.mark.parametrize(
  'text',
  [
    'no JSON',
    '[]',
    '{"image": "", "mask": null}',
    '{"image": 3, "mask": null}',
    '{"image": "AAAA", "mask": null}',
    '{"mask": null}',
    encoded(images.png(np.zeros((5, 4, 1), np.uint8))),
    encoded(images.png_header(4, 60_000)),
    encoded(images.png_header(60_000, 60_000)),
    encoded(b'\0' * 100_000),
  ],
)
def test_a_bad_painting_is_refused(text):
  with pytest.raises(ValueError, match='choose the image again'):
    inputs.decode_painting(text, (6, 4, 1))


def test_a_painting_needs_an_image():
  with pytest.raises(ValueError, match='choose an image first'):
    inputs.decode_painting(None, (6, 4, 1))


def test_limits_are_checked():
  with pytest.raises(ValueError, match='max_waiting must be'):
    inputs.Limits(max_waiting=0)
