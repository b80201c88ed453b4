"""A pass over images: resumed to the bit, in memory of constant size."""

import os
import pathlib
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from tests.evaluation import extractors
from vq_jax.evaluation import choosing
from vq_jax.evaluation import core
from vq_jax.evaluation import image_sets
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import options as options_lib
from vq_jax.evaluation import passes
from vq_jax.metrics import rows as rows_lib

METRICS = ('fid', 'sfid', 'is', 'kid', 'pr', 'dc')


class Interrupted(Exception):
  """Stands for whatever stops a pass."""


class Noise(image_sets.ImageSet):
  """Images of which each is a function of its number; may stop on the way."""

  def __init__(self, count=60, low=0, stop_at=None, stop=None):
    self.name, self.image_shape = f'noise {low}', (8, 8, 1)
    self._count, self._low, self._at, self._stop = count, low, stop_at, stop
    self.read = []

  def __len__(self):
    return self._count

  def describe(self):
    return {'noise': self._low, 'count': self._count}

  def batches(self, rows, batch_size):
    for start in range(rows.start, rows.stop, batch_size):
      numbers = range(start, min(start + batch_size, rows.stop))
      if self._at in numbers:
        self._stop()
      self.read.extend(numbers)
      yield {'image': np.stack([self._image(i) for i in numbers])}

  def _image(self, i):
    rng = np.random.default_rng(i)
    return rng.integers(self._low, 255, self.image_shape, np.uint8)


def evaluate(images, folder, *, shard_size=10, batch_size=5, metrics=METRICS):
  """Evaluates images against other ones, with small shards."""
  options = options_lib.EvaluationOptions(
    metrics=metrics, batch_size=batch_size
  )
  reference = Noise(50, low=60)
  chosen = choosing.choose_metrics(
    options,
    metric_table.METRICS,
    images,
    reference,
    extractors.random_projection(),
  )
  before, passes.SHARD_SIZE = passes.SHARD_SIZE, shard_size
  try:
    sets = core.Sets(images=images, reference=reference)
    return core.evaluate('comparison', sets, chosen, options, folder)
  finally:
    passes.SHARD_SIZE = before


def stop():
  raise Interrupted


def test_a_stopped_pass_is_resumed_to_the_bit(tmp_path):
  whole = evaluate(Noise(), tmp_path / 'whole')
  stopped = Noise(stop_at=33, stop=stop)
  with pytest.raises(Interrupted):
    evaluate(stopped, tmp_path / 'stopped')
  assert stopped.read == list(range(30))
  rest = Noise()
  assert evaluate(rest, tmp_path / 'stopped') == whole
  assert rest.read == list(range(30, 60))
  assert not (tmp_path / 'stopped' / 'work').exists()


KILLED = """
import os, pathlib, signal, sys
from tests.evaluation import test_passes
images = test_passes.Noise(
  stop_at=33, stop=lambda: os.kill(os.getpid(), signal.SIGKILL))
test_passes.evaluate(images, pathlib.Path(sys.argv[1]))
"""


def test_a_killed_process_is_resumed_to_the_bit(tmp_path):
  done = subprocess.run(
    [sys.executable, '-c', KILLED, str(tmp_path / 'killed')],
    cwd=pathlib.Path(__file__).parents[2],
    env={**os.environ, 'JAX_NUM_CPU_DEVICES': '8'},
    stderr=subprocess.PIPE,
  )
  assert done.returncode == -signal.SIGKILL, done.stderr
  rest = Noise()
  found = evaluate(rest, tmp_path / 'killed')
  assert rest.read == list(range(30, 60))
  assert found == evaluate(Noise(), tmp_path / 'whole')


def make_pass(extractor):
  return passes.Pass(
    extractors={'': extractor},
    arrays=frozenset(['pooled']),
    batch_size=5,
    shard_size=15,
  )


def test_a_batch_is_resized_while_the_previous_one_is_computed(tmp_path):
  """Not beyond a shard, so that a complete one is written at once."""
  log = []
  shards = make_pass(extractors.delayed(log)).run(Noise(30), tmp_path)
  assert log == ['resize', *['resize', 'wait'] * 2, 'wait'] * 2
  (batch,) = Noise(30).batches(range(30), 30)
  expected = np.repeat(batch['image'], 3, axis=-1).mean((1, 2))
  np.testing.assert_allclose(shards.rows('pooled')[:], expected, rtol=1e-6)


def test_an_error_of_a_device_stops_the_pass(tmp_path):
  with pytest.raises(RuntimeError, match='out of memory'):
    make_pass(extractors.delayed([], fail_at=4)).run(Noise(30), tmp_path)
  rest = Noise(30)
  make_pass(extractors.delayed([])).run(rest, tmp_path)
  assert rest.read == list(range(15, 30))


def test_sizes_of_batches_and_shards_change_no_number(tmp_path):
  values = [
    [r.value for r in evaluate(Noise(), tmp_path / str(i), **sizes).results]
    for i, sizes in enumerate(
      [{'shard_size': 100}, {'batch_size': 7}, {'shard_size': 1}]
    )
  ]
  np.testing.assert_allclose(values[1], values[0], rtol=1e-5)
  np.testing.assert_allclose(values[2], values[0], rtol=1e-5)


def test_files_of_another_pass_are_not_used(tmp_path):
  metrics = ('fid',)
  for images in (Noise(stop_at=33, stop=stop), Noise(low=9)):
    try:
      found = evaluate(images, tmp_path / 'one', metrics=metrics)
    except Interrupted:
      continue
  assert images.read == list(range(60))
  fresh = evaluate(Noise(low=9), tmp_path / 'other', metrics=metrics)
  assert found == fresh


def test_the_reference_is_computed_once(tmp_path):
  first = evaluate(Noise(), tmp_path, metrics=('fid',))
  (folder,) = (tmp_path / 'references').iterdir()
  times = {p: p.stat().st_mtime_ns for p in folder.rglob('*')}
  assert any(p.name == 'gaussian_pooled.npz' for p in times)
  assert evaluate(Noise(), tmp_path, metrics=('fid',)) == first
  assert times == {p: p.stat().st_mtime_ns for p in folder.rglob('*')}


class Many(image_sets.ImageSet):
  """Many images that are made quickly."""

  name, image_shape = 'many', (16, 16, 3)

  def __init__(self, count):
    self._count = count

  def __len__(self):
    return self._count

  def describe(self):
    return {'many': self._count}

  def batches(self, rows, batch_size):
    for start in range(rows.start, rows.stop, batch_size):
      stop = min(start + batch_size, rows.stop)
      rng = np.random.default_rng(start)
      shape = (stop - start, *self.image_shape)
      yield {'image': rng.integers(0, 255, shape, np.uint8)}


def peak_memory(count, folder):
  """Returns the bytes of the largest state of Python's and NumPy's memory."""
  extractor = extractors.random_projection(pooled=64)
  options = options_lib.EvaluationOptions(metrics=('fid', 'is'), batch_size=512)
  sets = core.Sets(images=Many(count), reference=Many(400))
  chosen = choosing.choose_metrics(
    options, metric_table.METRICS, sets.images, sets.reference, extractor
  )
  tracemalloc.start()
  core.evaluate('comparison', sets, chosen, options, folder)
  _, found = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  return found


def test_memory_does_not_depend_on_the_number_of_images(tmp_path):
  chunk = rows_lib.CHUNK  # all chunks are full beyond the second one
  few, many = (
    peak_memory(n, tmp_path / str(n)) for n in (2 * chunk, 4 * chunk)
  )
  growth = (many - few) / (2 * chunk)
  assert growth < 32 < (64 * 4 + 16 * 16 * 3) / 20  # bytes of an image
