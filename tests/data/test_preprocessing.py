import io
import math
import pickle

import numpy as np
import pytest
from PIL import Image

from vq_jax import data
from vq_jax.data.pixels import stack
from vq_jax.data.preprocessing import apply
from vq_jax.data.preprocessing import refuse_random


def _image(h, w, c=3, seed=0):
  return np.random.default_rng(seed).integers(0, 256, (h, w, c), np.uint8)


def _rng(seed=0):
  return np.random.default_rng(seed)


@pytest.mark.parametrize('c', [1, 3])
@pytest.mark.parametrize(
  'h, w, expected', [(40, 60, (16, 24)), (9, 9, (16, 16))]
)
def test_resize_fits_the_shorter_side(h, w, expected, c):
  image = data.Resize(size=16)(_image(h, w, c))
  assert image.shape == (*expected, c) and image.dtype == np.uint8


def test_resize_averages_under_each_filter():
  board = np.indices((64, 64)).sum(0) % 2 * 255
  board = board.astype(np.uint8)[..., None]
  outputs = set()
  for name in ('box', 'bilinear', 'hamming', 'bicubic', 'lanczos'):
    small = data.Resize(size=16, filter=name)(board)
    # Without antialiasing a checkerboard would stay black and white.
    assert abs(float(small[4:12, 4:12].mean()) - 127.5) < 4
    ramp = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64, 1) // 17
    outputs.add(
      data.Resize(size=15, filter=name)(ramp.astype(np.uint8)).tobytes()
    )
  assert len(outputs) == 5


def test_center_crop_is_the_middle():
  image = _image(10, 14)
  np.testing.assert_array_equal(
    data.CenterCrop(size=6)(image), image[2:8, 4:10]
  )


def test_random_crop_reaches_every_offset_and_pads_with_black():
  image = np.arange(1, 10, dtype=np.uint8).reshape(3, 3, 1)
  rng = _rng()
  corners = {
    int(data.RandomCrop(size=2)(image, rng)[0, 0, 0]) for _ in range(200)
  }
  assert corners == {1, 2, 4, 5}
  padded = [data.RandomCrop(size=3, padding=1)(image, rng) for _ in range(200)]
  assert len({crop.tobytes() for crop in padded}) == 9
  assert all(crop.shape == (3, 3, 1) for crop in padded)
  assert any((crop[0] == 0).all() for crop in padded)


def test_random_resize_samples_every_size_of_the_shorter_side():
  image, rng = _image(40, 60), _rng()
  step = data.RandomResize(smallest=16, largest=18)
  shapes = {step(image, rng).shape for _ in range(50)}
  assert shapes == {(16, 24, 3), (17, 26, 3), (18, 27, 3)}
  np.testing.assert_array_equal(
    data.RandomResize(smallest=16, largest=16, filter='box')(image, rng),
    data.Resize(size=16, filter='box')(image),
  )


def test_random_resized_crop_keeps_area_and_ratio():
  step = data.RandomResizedCrop(size=8, scale=(0.25, 0.25), ratio=(1.0, 1.0))
  # A crop of a quarter of a horizontal ramp spans half of its values.
  ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))[..., None]
  rng = _rng()
  crops = [step(ramp, rng) for _ in range(50)]
  spans = [int(crop.max()) - int(crop.min()) for crop in crops]
  assert all(crop.shape == (8, 8, 1) for crop in crops)
  assert 100 < min(spans) and max(spans) < 132
  assert len({int(crop.min()) for crop in crops}) > 10
  whole = data.RandomResizedCrop(size=64, scale=(1.0, 1.0), ratio=(1.0, 1.0))
  np.testing.assert_array_equal(whole(ramp, rng), ramp)


def test_random_flip_mirrors_half_of_the_time():
  image, rng = _image(4, 5), _rng()
  flipped = 0
  for _ in range(400):
    out = data.RandomFlip()(image, rng)
    is_flipped = np.array_equal(out, image[:, ::-1])
    assert is_flipped or np.array_equal(out, image)
    flipped += is_flipped
  assert 150 < flipped < 250


def test_channels_follow_pillow():
  image = _image(6, 7)
  luma = np.asarray(Image.fromarray(image).convert('L'), int)
  ours = data.Channels(count=1)(image)
  assert ours.shape == (6, 7, 1)
  assert np.abs(ours[..., 0].astype(int) - luma).max() <= 1
  grey = data.Channels(count=3)(ours)
  assert grey.shape == (6, 7, 3) and (grey == ours).all()
  assert data.Channels(count=3)(image) is image


def test_only_random_preprocessing_is_refused_in_evaluation():
  random = [
    data.RandomCrop(size=2),
    data.RandomFlip(),
    data.RandomResizedCrop(size=2),
    data.RandomResize(smallest=2, largest=3),
  ]
  fixed = [data.Resize(size=2), data.CenterCrop(size=2), data.Channels(count=1)]
  refuse_random(fixed)
  for step in random:
    with pytest.raises(data.DataError, match=type(step).__name__):
      refuse_random([*fixed, step])


def test_steps_are_values():
  step = data.RandomResizedCrop(size=8)
  assert pickle.loads(pickle.dumps(step)) == step
  assert len({step, data.RandomResizedCrop(size=8)}) == 1
  with pytest.raises(TypeError):
    data.Resize(8)


@pytest.mark.parametrize(
  'step', [data.CenterCrop(size=9), data.RandomCrop(size=9)]
)
def test_too_small_images_are_an_error_with_a_remedy(step):
  with pytest.raises(data.DataError, match=r'9x9; got 8x20.*Resize\(size=9\)'):
    step(_image(8, 20), _rng())


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: data.Resize(size=0), 'size must be a whole number in .* got 0'),
    (lambda: data.CenterCrop(size=2.5), 'size must be .* got 2.5'),
    (lambda: data.RandomCrop(size=True), 'size must be .* got True'),
    (lambda: data.Resize(size=10**30), 'size must be'),
    (
      lambda: data.Resize(size=4, filter='nearest'),
      "'bicubic' or 'lanczos'; got 'nearest'",
    ),
    (lambda: data.RandomCrop(size=4, padding=-1), 'padding'),
    (lambda: data.RandomResizedCrop(size=4, scale=(0.0, 1.0)), 'scale'),
    (lambda: data.RandomResize(smallest=4, largest=3), 'smallest=4'),
    (lambda: data.RandomResize(smallest=4, largest=4, filter='x'), "'x'"),
    (lambda: data.RandomResizedCrop(size=4, ratio=(2.0, 1.0)), 'ratio'),
    (lambda: data.RandomResizedCrop(size=4, scale=(0.5, math.nan)), 'nan'),
    (lambda: data.RandomResizedCrop(size=4, ratio=(1, math.inf)), 'inf'),
    (lambda: data.RandomResizedCrop(size=4, ratio='ab'), 'ratio'),
    (lambda: data.RandomResizedCrop(size=4, scale=0.5), 'scale'),
    (lambda: data.Channels(count=4), 'count must be 1 or 3; got 4'),
    (lambda: data.Channels(count=True), '1 or 3; got True'),
  ],
)
def test_bad_fields_fail_at_construction(make, message):
  with pytest.raises(data.DataError, match=message):
    make()


def test_a_batch_of_different_sizes_is_refused():
  with pytest.raises(data.DataError, match='4x4x3, 5x4x3.*CenterCrop'):
    stack([_image(4, 4), _image(5, 4)], 2, 'folder:photos')
  assert stack([_image(4, 4), _image(4, 4)], 2, 'x').shape == (2, 4, 4, 3)


def test_each_image_is_copied_before_the_next_is_made():
  buffer = np.empty((4, 4, 3), np.uint8)

  def images():
    for seed in range(3):
      buffer[:] = _image(4, 4, seed=seed)
      yield buffer

  expected = [_image(4, 4, seed=seed) for seed in range(3)]
  np.testing.assert_array_equal(stack(images(), 3, 'x'), expected)


def test_a_preprocessing_step_must_return_uint8():
  with pytest.raises(data.DataError, match='float64'):
    apply([lambda image, rng: image / 255], _image(4, 4), None)


def test_resize_equals_pillow():
  image = _image(30, 40)
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, 'PNG')
  expected = Image.open(buffer).resize((27, 20), Image.Resampling.BICUBIC)
  np.testing.assert_array_equal(data.Resize(size=20)(image), expected)
