"""Batches for training and evaluation: order, resuming, workers, errors."""

import itertools
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from PIL import Image

from vq_jax import data

AUGMENT = (data.RandomCrop(size=6, padding=1), data.RandomFlip())


def _source(n=23, size=6):
  """Labels are the row numbers, so that a batch says what is in it."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (n, size, size, 3), np.uint8)
  return data.ArraySource(images, np.arange(n))


class _Plain(data.Source):
  """The same examples without the methods of an in-memory source."""

  def __init__(self, source, unreadable=(), **options):
    super().__init__(name='plain', class_names=source.class_names, **options)
    self._source = source
    self._unreadable = frozenset(unreadable)

  def __len__(self):
    return len(self._source)

  def __getitem__(self, index):
    if index in self._unreadable:
      raise data.UnreadableImage(f'image {index}', 'truncated')
    return self._source[index]


def _take(iterator, n):
  return list(itertools.islice(iterator, n))


def _labels(batches):
  return np.concatenate([batch['label'] for batch in batches])


def _assert_equal(left, right):
  assert len(left) == len(right)
  for a, b in zip(left, right, strict=True):
    assert a.keys() == b.keys()
    for key in a:
      np.testing.assert_array_equal(a[key], b[key])


def _train(source=None, **options):
  options = {'batch_size': 4, 'seed': 3, **options}
  return data.train_batches(source or _source(), **options)


# The order.


def test_batches_are_the_examples():
  source = _source()
  with _train(source) as batches:
    for batch in _take(batches, 12):
      assert batch['image'].dtype == np.uint8
      assert batch['label'].dtype == np.int32
      np.testing.assert_array_equal(
        batch['image'], source.images[batch['label']]
      )


@pytest.mark.parametrize('n, batch_size', [(23, 4), (24, 4), (5, 5), (1, 1)])
def test_each_epoch_is_a_new_permutation(n, batch_size):
  epochs = 6
  with _train(_source(n), batch_size=batch_size) as batches:
    labels = _labels(_take(batches, -(-epochs * n // batch_size)))
  labels = labels[: epochs * n].reshape(epochs, n)
  for epoch in labels:
    assert sorted(epoch) == list(range(n))
  if n > 5:
    assert len({tuple(epoch) for epoch in labels}) == epochs


def test_the_order_follows_from_the_seed():
  one, same, other = (
    _labels(_take(_train(seed=seed), 30)) for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(one, same)
  assert not np.array_equal(one, other)
  # Nor is the next seed the same series of epochs, one epoch later.
  assert not np.array_equal(one[23:46], other[:23])


def test_both_kinds_of_source_give_the_same_batches():
  for preprocess in ((), AUGMENT):
    left = _take(_train(preprocess=preprocess), 9)
    right = _take(_train(_Plain(_source()), preprocess=preprocess), 9)
    _assert_equal(left, right)


@pytest.mark.parametrize('processes', [2, 4])
def test_processes_cut_the_global_batch(processes):
  options = {'batch_size': 8, 'preprocess': AUGMENT}
  whole = _take(_train(**options), 9)
  parts = [
    _take(
      _train(**options, process_index=p, process_count=processes, prefetch=0),
      9,
    )
    for p in range(processes)
  ]
  joined = [
    {key: np.concatenate([part[key] for part in step]) for key in step[0]}
    for step in zip(*parts, strict=True)
  ]
  _assert_equal(whole, joined)


def test_preprocessing_differs_from_epoch_to_epoch():
  source = _source(4)
  with _train(source, preprocess=AUGMENT) as batches:
    first, second = _take(batches, 2)
  by_label = [
    batch['image'][np.argsort(batch['label'])] for batch in (first, second)
  ]
  assert not np.array_equal(*by_label)


# Resuming.


@pytest.mark.parametrize('prefetch', [0, 2])
def test_resuming_continues_to_the_bit(prefetch):
  options = {'preprocess': AUGMENT, 'prefetch': prefetch}
  uninterrupted = _take(_train(**options), 20)
  with _train(**options) as batches:
    _take(batches, 7)
    assert batches.position == 7
    state = json.loads(json.dumps(batches.get_state()))
    assert state['position'] == 7
    _take(batches, 5)
  with _train(**options) as batches:
    batches.set_state(state)
    assert batches.get_state() == state
    _assert_equal(_take(batches, 13), uninterrupted[7:])
    batches.set_state({**state, 'position': 1})  # also while it runs
    _assert_equal(_take(batches, 3), uninterrupted[1:4])


def test_workers_change_nothing():
  options = {'preprocess': AUGMENT}
  expected = _take(_train(**options), 12)
  source = _Plain(_source())
  with _train(source, **options, workers=2) as batches:
    _assert_equal(_take(batches, 5), expected[:5])
    state = batches.get_state()
  assert not multiprocessing.active_children()
  with _train(source, **options, workers=0) as batches:
    batches.set_state(state)
    _assert_equal(_take(batches, 7), expected[5:])


def test_a_state_of_another_run_is_refused():
  state = _train().get_state()
  with pytest.raises(data.DataError, match='seed is 3 in the state and 4 here'):
    _train(seed=4).set_state(state)
  with pytest.raises(data.DataError, match='batch_size is 4 .* and 8 here'):
    _train(batch_size=8).set_state(state)
  with pytest.raises(data.DataError, match='length is 23 .* and 22 here'):
    _train(_source(22)).set_state(state)
  with pytest.raises(data.DataError, match='position is None'):
    _train().set_state({**state, 'position': None})


# Life and death.


def test_transfer_runs_in_the_prefetch_thread():
  def transfer(batch):
    return batch['label'].sum(), threading.current_thread()

  expected = [batch['label'].sum() for batch in _take(_train(), 5)]
  for prefetch, aside in ((2, True), (0, False)):
    with _train(transfer=transfer, prefetch=prefetch) as batches:
      sums, threads = zip(*_take(batches, 5), strict=True)
    assert list(sums) == expected
    assert all(
      (thread is not threading.main_thread()) == aside for thread in threads
    )


def test_close_may_be_called_twice():
  batches = _train()
  next(batches)
  state = batches.get_state()
  batches.close()
  batches.close()
  assert batches.get_state() == state
  with pytest.raises(ValueError, match='closed'):
    next(batches)
  _train().close()  # before the first batch


def test_a_script_may_exit_without_closing_the_batches(tmp_path):
  script = tmp_path / 'script.py'
  script.write_text(
    textwrap.dedent("""
      import sys
      import numpy as np
      from vq_jax import data

      if __name__ == '__main__':
        images = np.zeros((8, 4, 4), np.uint8)
        batches = data.train_batches(
          data.ArraySource(images), batch_size=2, seed=0, workers=1
        )
        print(next(batches)['image'].shape, 'tensorflow' in sys.modules)
        xla = sys.modules['jax']._src.xla_bridge
        print(xla.backends_are_initialized())
    """)
  )
  out = subprocess.run(
    [sys.executable, script],
    capture_output=True,
    text=True,
    timeout=60,
    env={'PYTHONPATH': '.', 'PATH': ''},
  )
  assert out.stdout.split('\n')[:2] == ['(2, 4, 4, 1) False', 'False']
  assert out.returncode == 0 and 'Traceback' not in out.stderr
  assert 'shared_memory' not in out.stderr


WORKERS = """
import os, signal, sys, time
import jax
import numpy as np
from vq_jax import data

if __name__ == '__main__':
  came = []
  for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, lambda signum, frame: came.append(signum))
  images = np.zeros((8, 4, 4), np.uint8)
  with data.train_batches(
    data.ArraySource(images), batch_size=2, seed=0, workers=1,
    transfer=jax.device_put,
  ) as batches:
    held = [next(batches) for _ in range(2)]
    print('started', flush=True)
    if sys.argv[1] == 'wait':
      time.sleep(60)
    for signum in (signal.SIGINT, signal.SIGTERM):
      os.killpg(0, signum)
    held += [next(batches) for _ in range(19)]
    raise SystemExit(f'signals: {len(came)}, batches: {len(held)}')
"""


def _start_workers(tmp_path, what):
  (tmp_path / 'script.py').write_text(WORKERS)
  return subprocess.Popen(
    [sys.executable, tmp_path / 'script.py', what],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,  # a group of processes of its own
    env={'PYTHONPATH': '.', 'PATH': '', 'JAX_PLATFORMS': 'cpu'},
  )


def test_signals_and_errors_leave_nothing_in_shared_memory(tmp_path):
  process = _start_workers(tmp_path, 'go')
  _, errors = process.communicate(timeout=60)
  assert errors == 'signals: 2, batches: 21\n' and process.returncode == 1


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
  process = _start_workers(tmp_path, 'wait')
  assert process.stdout.readline() == 'started\n'
  process.kill()
  process.communicate(timeout=20)  # until all processes have closed its pipes


def test_a_worker_that_is_killed_is_reported_and_started_again():
  source = _Plain(_source())
  with _train(source, workers=0) as batches:
    want = _take(batches, 24)
  with _train(source, workers=1) as batches:
    got = _take(batches, 4)
    worker = multiprocessing.active_children()[-1]
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.warns(data.WorkerWarning, match='plain was killed.*at batch'):
      got += _take(batches, 20)
  _assert_equal(want, got)


class _Deadly(_Plain):
  def __getitem__(self, index):
    os._exit(7)


@pytest.mark.slow
def test_workers_that_die_each_time_stop_the_run():
  source = _Deadly(_source())
  message = 'plain died 3 times at batch 1; the last one ended with exit code 7'
  with (
    _train(source, workers=1) as batches,
    pytest.warns(data.WorkerWarning),
    pytest.raises(data.DataError, match=message),
  ):
    next(batches)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'batch_size': 24}, 'batch_size=24 and 23 examples'),
    ({'batch_size': 4, 'process_count': 3}, 'got 4 for 3'),
    ({'batch_size': 0}, 'batch_size must be a whole number of at least 1'),
    ({'batch_size': 2.5}, 'batch_size must be .*; got 2.5'),
    ({'batch_size': True}, 'batch_size must be .*; got True'),
    ({'process_count': 0}, 'process_count must be'),
    ({'seed': 0.5}, r'seed must be a whole number in \[0, 4294967295\]'),
    ({'workers': math.nan}, 'workers must be .*; got nan'),
    ({'process_index': 1}, 'got 1 of 1'),
    ({'seed': -1}, 'seed'),
    ({'seed': 2**32}, 'seed'),
    ({'workers': -1}, r'workers must be a whole number in \[0, 1024\]'),
    ({'prefetch': -1}, 'prefetch must be a whole number in'),
  ],
)
def test_bad_options(options, message):
  with pytest.raises(data.DataError, match=message):
    _train(**options)


# Images that cannot be read.


@pytest.mark.parametrize('prefetch', [0, 2])
def test_the_next_readable_image_replaces_an_unreadable_one(prefetch):
  source = _Plain(_source(), unreadable={5, 6, 22})
  stand_in = np.arange(23)
  stand_in[[5, 6, 22]] = 7, 7, 0
  with pytest.warns(data.UnreadableImageWarning) as warned:
    with _train(source, prefetch=prefetch) as batches:
      labels = _labels(_take(batches, 23))
  np.testing.assert_array_equal(labels, stand_in[_labels(_take(_train(), 23))])
  named = sorted(str(w.message).split(' cannot')[0] for w in warned)
  assert named == ['image 22', 'image 5', 'image 6']  # once, in four epochs


@pytest.mark.parametrize('workers', [0, 1])
def test_too_many_unreadable_images_stop_the_run(workers):
  source = _Plain(_source(), unreadable=range(0, 20, 2), max_unreadable=3)
  with pytest.warns(data.UnreadableImageWarning) as warned:
    with pytest.raises(
      data.DataError, match='4 images of plain.*is 3; .*image'
    ):
      with _train(source, workers=workers) as batches:
        _take(batches, 6)
  assert len(warned) == 3


@pytest.mark.parametrize('max_unreadable, tried', [(100, 23), (5, 7)])
def test_too_many_unreadable_images_in_a_row_are_an_error(
  max_unreadable, tried
):
  source = _Plain(
    _source(), unreadable=range(23), max_unreadable=max_unreadable
  )
  with pytest.raises(data.DataError, match=f'^{tried} images .* in a row'):
    next(_train(source, prefetch=0))


def test_images_of_different_size_are_explained(tmp_path):
  for i, size in enumerate((4, 5)):
    Image.new('RGB', (size, 4)).save(tmp_path / f'{i}.png')
  source = data.open_source(f'folder:{tmp_path}')
  with pytest.raises(data.DataError, match='4x4x3, 4x5x3.*CenterCrop'):
    next(_train(source, batch_size=2))
  with _train(
    source, batch_size=2, preprocess=(data.CenterCrop(size=4),)
  ) as batches:
    assert next(batches)['image'].shape == (2, 4, 4, 3)


# Evaluation.


@pytest.mark.parametrize('processes', [1, 2, 3])
@pytest.mark.parametrize('n', [1, 5, 6, 7, 23, 24])
def test_every_example_is_evaluated_once(n, processes):
  source = _source(n)
  passes = [
    data.eval_batches(
      source, batch_size=6, process_index=p, process_count=processes
    )
    for p in range(processes)
  ]
  assert {len(batches) for batches in passes} == {-(-n // 6)}
  steps = list(zip(*passes, strict=True))
  assert len(steps) == len(passes[0])
  seen = []
  for step in steps:
    for batch in step:
      assert len(batch['image']) == len(batch['mask']) == 6 // processes
      assert batch['mask'].dtype == bool
      np.testing.assert_array_equal(
        batch['image'], source.images[batch['label']]
      )
      seen += list(batch['label'][batch['mask']])
  assert seen == list(range(n))


def test_evaluation_can_be_repeated_limited_and_preprocessed():
  batches = data.eval_batches(
    _source(), batch_size=4, limit=10, preprocess=(data.Resize(size=3),)
  )
  assert len(batches) == 3 and batches.num_examples == 10
  first, second = list(batches), list(batches)
  _assert_equal(first, second)
  assert first[0]['image'].shape == (4, 3, 3, 3)
  assert sum(batch['mask'].sum() for batch in first) == 10
  assert data.eval_batches(_source(), batch_size=4, limit=99).num_examples == 23
  next(iter(batches))  # may be left half way


def test_evaluation_refuses_random_preprocessing_and_bad_options():
  for options, message in (
    ({'preprocess': AUGMENT}, 'RandomCrop'),
    ({'batch_size': 5, 'process_count': 2}, 'got 5 for 2'),
    ({'limit': 0}, 'at least 1'),
  ):
    with pytest.raises(data.DataError, match=message):
      data.eval_batches(_source(), **{'batch_size': 4, **options})


def test_unreadable_images_are_masked_in_evaluation():
  batches = data.eval_batches(
    _Plain(_source(), unreadable={3, 22}), batch_size=4
  )
  with pytest.warns(data.UnreadableImageWarning) as warned:
    seen = [label for b in batches for label in b['label'][b['mask']]]
  assert seen == [i for i in range(23) if i not in (3, 22)]
  assert len(warned) == 2
  batches = data.eval_batches(
    _Plain(_source(), unreadable={3, 22}, max_unreadable=1), batch_size=4
  )
  with pytest.warns(data.UnreadableImageWarning):
    with pytest.raises(data.DataError, match='2 images of plain'):
      list(batches)


def test_truncated_files_are_skipped(tmp_path):
  rng = np.random.default_rng(0)
  for i in range(6):
    pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f'{i}.jpg')
  for name in ('2.jpg', '4.jpg'):
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
  (tmp_path / 'text.png').write_text('not an image')
  source = data.open_source(f'folder:{tmp_path}')
  with pytest.warns(data.UnreadableImageWarning) as warned:
    batches = list(data.eval_batches(source, batch_size=7))
  assert batches[0]['mask'].sum() == 4
  messages = ' '.join(str(w.message) for w in warned)
  assert all(n in messages for n in ('2.jpg', '4.jpg', 'text.png'))
