"""Reading of images: this library's batches beside Pillow alone."""

import os
import pathlib
import tempfile
import time

import numpy as np

from tests.benchmarks.speed.items import Context
from tests.benchmarks.speed.items import Figures
from tests.benchmarks.speed.items import Item
from vq_jax import data
from vq_jax.data import preprocessing

NAME = 'reading JPEG files of 256 x 256, random crops'
BATCH = 32
SIDE = 256


def write_images(folder: pathlib.Path, number: int) -> None:
  """Writes JPEG files with edges and noise, as photographs have."""
  from PIL import Image

  rng = np.random.default_rng(0)
  for i in range(number):
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
    smooth = np.asarray(coarse.resize((SIDE, SIDE)), np.int32)
    noise = rng.integers(-12, 13, (SIDE, SIDE, 1))
    image = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    Image.fromarray(image).save(folder / f'{i:04d}.jpg', quality=90)


def measure_pillow(folder: pathlib.Path, seconds: float) -> float:
  """Returns how many images per second one core decodes, crops and resizes.

  The areas of the squares and the filter are those of `RandomResizedCrop`.
  """
  from PIL import Image

  rng = np.random.default_rng(0)
  paths = sorted(folder.glob('*.jpg'))
  began, number = time.perf_counter(), 0
  while time.perf_counter() - began < seconds or number < 8:
    area = rng.uniform(*preprocessing.RandomResizedCrop.scale)
    side = round(SIDE * area**0.5)
    left, top = rng.integers(SIDE - side + 1, size=2).tolist()
    with Image.open(paths[number % len(paths)]) as image:
      box = (left, top, left + side, top + side)
      cropped = image.convert('RGB').crop(box)
      np.asarray(cropped.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    number += 1
  return number / (time.perf_counter() - began)


def measure_batches(
  folder: pathlib.Path, seconds: float, workers: int
) -> float:
  """Returns how many images per second come in training batches."""
  source = data.open_source(f'folder:{folder}', 'train', channels=3)
  crop = preprocessing.RandomResizedCrop(size=SIDE)
  batches = data.train_batches(
    source, batch_size=BATCH, seed=0, preprocess=(crop,), workers=workers
  )
  with batches:
    for _ in range(4):  # those that are read ahead
      next(batches)
    began, number = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or not number:
      next(batches)
      number += BATCH
    return number / (time.perf_counter() - began)


def measure(context: Context) -> Figures:
  """Measures both, threads and processes on all cores."""
  cores = len(os.sched_getaffinity(0))
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    write_images(folder, 2 * BATCH if context.smoke else 8 * BATCH)
    pillow = measure_pillow(folder, context.seconds)
    threads = measure_batches(folder, context.seconds, 0)
    processes = measure_batches(folder, context.seconds, cores)
  return {
    'batch': BATCH,
    'images_per_s': max(threads, processes),
    'ms': 1e3 * BATCH / max(threads, processes),
    'threads_images_per_s': threads,
    'processes_images_per_s': processes,
    'pillow_images_per_s': pillow,
    'cores': cores,
    'note': (
      f'threads {threads:.0f}, {cores} processes {processes:.0f}; Pillow alone '
      f'{pillow:.0f} on one core'
    ),
  }


ITEM = Item(name=NAME, measure=measure, group='reading')


def compare_with_steps(items: dict[str, Figures]) -> list[str]:
  """Returns how the images that are read compare with those that steps take."""
  reading = items.get(NAME, {}).get('images_per_s')
  if not reading:
    return []
  return [
    f'{name}: images are read {reading / figures["images_per_s"]:.3g} times as '
    'fast as the step takes them.'
    for name, figures in items.items()
    if figures.get('reads_images') and figures.get('images_per_s')
  ]
