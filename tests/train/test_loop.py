"""A run depends on its config only, also if resumed or on many devices."""

import errno
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import vq_jax
from tests.train import tiny_configs
from tests.train.saving import assert_same
from tests.train.saving import saved
from train import loop
from train import preemption
from train import run_folder
from train import sharding
from train.logging import window as window_lib
from train.logging import writers
from vq_jax.config import schema
from vq_jax.data import pipeline
from vq_jax.runs import checkpoints
from vq_jax.runs import checksums
from vq_jax.runs import layout
from vq_jax.utils import trees

STAGES = ['autoencoder', 'prior']


@pytest.fixture
def config(request, source, tokenizer):
  if request.param == 'autoencoder':
    return tiny_configs.autoencoder(source)
  return tiny_configs.prior(source, tokenizer)


@pytest.fixture
def whole(config, tokenizer, maskgit) -> pathlib.Path:
  """The run of the same config, by jit and without interruption."""
  return pathlib.Path(maskgit if config['task'] == 'maskgit' else tokenizer)


@pytest.fixture(scope='module')
def on_eight_devices(source, tmp_path_factory) -> pathlib.Path:
  """The run of the autoencoder by jit on all devices."""
  folder = tmp_path_factory.mktemp('eight')
  config = tiny_configs.autoencoder(source)
  loop.train({**config, 'parallel': {'mode': 'jit'}}, folder)
  return folder


def stop_after(monkeypatch, steps: int) -> None:
  """Makes a training receive SIGTERM during a step."""
  count = itertools.count(1)
  read = pipeline.TrainIterator.__next__

  def spy(self):
    if next(count) == steps:
      os.kill(os.getpid(), signal.SIGTERM)
    return read(self)

  monkeypatch.setattr(pipeline.TrainIterator, '__next__', spy)


@pytest.mark.parametrize('config', STAGES, indirect=True)
def test_stopped_and_resumed_is_uninterrupted_to_the_bit(
  config, whole, tmp_path, monkeypatch
):
  """Stopped between two checkpoints, and again where one is due."""
  for steps, at in ((3, 3), (1, 4)):
    with monkeypatch.context() as patched:
      stop_after(patched, steps)
      with pytest.raises(
        preemption.Interrupted, match=f'saved at step {at} of 8'
      ):
        loop.train(config, tmp_path)
  assert loop.train(config, tmp_path) == writers.last_evaluation(whole)
  assert_same(saved(whole), saved(tmp_path))

  def losses(folder):
    records = writers.read_metrics(folder)
    return {r['step']: r['loss'] for r in records if r['kind'] == 'train'}

  one, parts = losses(whole), losses(tmp_path)
  assert one.keys() <= parts.keys()
  assert [s for s in parts if parts[s] != one.get(s)] == [3, 4]


@pytest.mark.parametrize('config', STAGES, indirect=True)
def test_pmap_computes_what_jit_does(config, whole, on_eight_devices, tmp_path):
  """On 8 devices: parameters, averages and codebook."""
  config['parallel'] = {'mode': 'pmap'}
  loop.train(config, tmp_path)
  is_prior = config['task'] == 'maskgit'
  one = saved(whole if is_prior else on_eight_devices)
  many = saved(tmp_path)
  assert config['task'] == 'maskgit' or any('cluster_sum' in n for n in one)
  assert_same(one, many, atol=1e-5)


def test_mesh_with_an_fsdp_axis_computes_the_same(
  source, on_eight_devices, tmp_path
):
  config = tiny_configs.autoencoder(source)
  config['parallel'] = {'mode': 'jit', 'data': 4, 'fsdp': 2}
  loop.train(config, tmp_path)
  assert_same(saved(on_eight_devices), saved(tmp_path), atol=1e-5)


def test_resuming_with_pmap_what_jit_began(
  source, tokenizer, tmp_path, monkeypatch
):
  config = tiny_configs.autoencoder(source)
  with monkeypatch.context() as patched:
    stop_after(patched, 5)
    with pytest.raises(preemption.Interrupted):
      loop.train(config, tmp_path)
  config['parallel'] = {'mode': 'pmap'}
  loop.train(config, tmp_path)
  assert_same(saved(tokenizer), saved(tmp_path), atol=1e-5)


def test_accumulation_is_the_gradient_of_the_whole_batch(source, tmp_path):
  config = tiny_configs.autoencoder(source)
  config['model']['quantizer'] = {
    'type': 'vq',
    'codebook_size': 16,
    'code_dim': 4,
  }
  loop.train(config, tmp_path / 'whole')
  config['optim']['accumulate'] = 2
  loop.train(config, tmp_path / 'parts')
  assert_same(saved(tmp_path / 'whole'), saved(tmp_path / 'parts'), atol=1e-5)


@pytest.mark.slow
def test_replaced_codes_of_a_learned_codebook(source, tmp_path, monkeypatch):
  """K-means and dead-code revival with accumulation, pmap and resumption."""
  config = tiny_configs.autoencoder(source)
  config['model']['quantizer'] = {
    'type': 'residual',
    'levels': 2,
    'quantizer': {
      'type': 'vq',
      'codebook_size': 16,
      'code_dim': 4,
      'kmeans_iterations': 2,
      'dead_code_threshold': 0.9,
      'decay': 0.1,
    },
  }
  config['optim']['accumulate'] = 2
  loop.train(config, tmp_path / 'whole')
  with monkeypatch.context() as patched:
    stop_after(patched, 5)
    with pytest.raises(preemption.Interrupted):
      loop.train(config, tmp_path / 'parts')
  loop.train(config, tmp_path / 'parts')
  whole = saved(tmp_path / 'whole')
  assert_same(whole, saved(tmp_path / 'parts'))
  config['parallel'] = {'mode': 'pmap'}
  loop.train(config, tmp_path / 'pmap')
  assert_same(whole, saved(tmp_path / 'pmap'), atol=1e-5)
  assert not any(v.any() for n, v in whole.items() if "'replaced'" in n)
  assert any(v.any() for n, v in whole.items() if "'replacement'" in n)
  records = writers.read_metrics(tmp_path / 'whole')
  assert any(r.get('revived', 0) > 0 for r in records)


@pytest.mark.parametrize('config', STAGES, indirect=True)
def test_bfloat16_trains(config, tmp_path):
  model = config['model']
  for name in {'encoder', 'decoder', 'transformer'} & model.keys():
    model[name]['dtype'] = 'bfloat16'
  config['train']['total_steps'] = 40
  loop.train(config, tmp_path)
  records = [r for r in writers.read_metrics(tmp_path) if r['kind'] == 'train']
  assert records[-1]['loss'] < 0.9 * records[0]['loss']


def test_a_run_of_another_config_is_refused(source, tokenizer):
  config = tiny_configs.autoencoder(source)
  before = saved(tokenizer)
  config['optim']['learning_rate'] = 1e-4
  with pytest.raises(
    layout.RunError, match='optim.learning_rate: 0.003 there, 0.0001 here'
  ):
    loop.train(config, tokenizer)
  assert_same(saved(tokenizer), before)


def test_a_folder_of_something_else_is_refused(source, tmp_path):
  (tmp_path / 'thesis.tex').write_text('')
  with pytest.raises(layout.RunError, match='not empty and holds no run'):
    loop.train(tiny_configs.autoencoder(source), tmp_path)
  assert [p.name for p in tmp_path.iterdir() if p.name != '.lock'] == [
    'thesis.tex'
  ]


def test_a_folder_in_use_is_refused(source, tmp_path):
  with run_folder.lock(tmp_path):
    with pytest.raises(layout.RunError, match='another process'):
      loop.train(tiny_configs.autoencoder(source), tmp_path)


def test_a_finished_run_is_not_trained_again(source, tokenizer, capsys):
  before = saved(tokenizer)
  found = loop.train(tiny_configs.autoencoder(source), tokenizer)
  assert found == writers.last_evaluation(pathlib.Path(tokenizer))
  assert 'all 8 steps are done already' in capsys.readouterr().err
  assert_same(saved(tokenizer), before)


def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(
  source, tmp_path, monkeypatch
):
  config = tiny_configs.autoencoder(source, save_every={'steps': 2})
  config['optim'].update(
    learning_rate=1e30, clip_norm=None, warmup={'steps': 4}
  )
  with pytest.raises(
    window_lib.DivergedError, match=r'at step \d the metric \w+ is'
  ):
    loop.train(config, tmp_path)
  kept = saved(tmp_path)
  assert all(np.isfinite(value).all() for value in kept.values())


def test_the_first_bad_metric_is_named():
  window = window_lib.Window(10, batch_size=4)
  good = {'loss': np.float32(1), 'grad_norm': np.float32(2)}
  for bad in ({}, {'grad_norm': np.float32(np.inf)}, {'loss': np.nan}):
    window.add({**good, **bad})
  with pytest.raises(
    window_lib.DivergedError, match='step 12 the metric grad_norm'
  ):
    window.flush()


def test_a_full_disk_ends_in_one_line_and_loses_nothing(
  source, tokenizer, tmp_path, monkeypatch
):
  """It is noticed in the step that saves, or later, in the background.

  `keep` is the number of checkpoints that are left.
  """
  config = tiny_configs.autoencoder(source, save_every={'steps': 2}, keep=3)

  def fills(function, at):
    def full(*arguments):
      if at in str(arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
      return function(*arguments)

    return full

  for module, name, at, kept in (
    (checkpoints, 'save', "'position': 4", 2),
    (checksums, 'write', '/6.orbax', 4),
  ):
    with monkeypatch.context() as patched:
      patched.setattr(module, name, fills(getattr(module, name), at))
      with pytest.raises(layout.RunError, match='No space left') as error:
        loop.train(config, tmp_path)
    assert f'step {kept} is kept' in str(error.value)
    assert str(error.value).count('\n') == 0
    assert checkpoints.find_undamaged(tmp_path) == (kept, {})
  loop.train(config, tmp_path)
  assert_same(saved(tokenizer), saved(tmp_path))
  found = {p.name for p in (tmp_path / layout.CHECKPOINTS).iterdir()}
  assert found == {'4', '6', '8'}


def test_init_from_is_strict(source, tokenizer, tmp_path):
  config = tiny_configs.autoencoder(source)
  config['optim']['learning_rate'] = 0.0
  config['optim']['ema_decay'] = None
  # What has begun needs the run no longer that it began from.
  shutil.copytree(tokenizer, tmp_path / 'before')
  config['init_from'] = str(tmp_path / 'before')
  loop.train(config, tmp_path / 'same')
  shutil.rmtree(tmp_path / 'before')
  loop.train(config, tmp_path / 'same')
  want = trees.flatten(vq_jax.load(tokenizer).variables['autoencoder'])
  got = trees.flatten(vq_jax.load(tmp_path / 'same').variables['autoencoder'])
  for name in want:
    if name.startswith('params'):
      np.testing.assert_array_equal(want[name], got[name], err_msg=name)

  config['init_from'] = tokenizer
  config['model']['decoder']['channels'] = 12
  with pytest.raises(ValueError, match='! params/decoder/Dense_0/kernel'):
    loop.train(config, tmp_path / 'other')
  config['init_keep'] = ('params/decoder',)
  with pytest.raises(schema.ConfigError, match='set config.init_from'):
    loop.train({**config, 'init_from': None}, tmp_path / 'kept')
  loop.train(config, tmp_path / 'kept')


def test_workers_and_prefetch_do_not_change_a_run(source, tokenizer, tmp_path):
  config = tiny_configs.autoencoder(source)
  config['data'] |= {'prefetch': 0, 'workers': 1}
  loop.train(config, tmp_path)
  assert_same(saved(tokenizer), saved(tmp_path))


def test_evaluation_uses_averaged_parameters(tokenizer):
  found = saved(tokenizer)
  loaded = vq_jax.load(tokenizer).variables['autoencoder']['params']
  kernel = loaded['to_code']['kernel']
  np.testing.assert_array_equal(kernel, found["ema['to_code']['kernel']"])
  raw = found["variables['params']['to_code']['kernel']"]
  assert not np.array_equal(kernel, raw)


def test_a_run_writes_checkpoints_metrics_and_samples(source, tokenizer):
  folder = pathlib.Path(tokenizer)
  names = {p.name for p in folder.iterdir()}
  assert {'config.json', 'metrics.jsonl', 'report.html', 'samples'} <= names
  assert list((folder / 'tensorboard').glob('events.*'))
  assert len(list((folder / 'samples').glob('reconstructions_*.png'))) == 2
  page = (folder / 'report.html').read_text()
  for part in ('psnr', 'data:image/png;base64', 'code_counts', 'patch_encoder'):
    assert part in page
  assert 'http://' not in page and 'https://' not in page


def test_evaluation_counts_each_example_once(source, tokenizer):
  """20 images of 16 codes, in batches of 8: the histogram holds 320."""
  counts = json.loads((pathlib.Path(tokenizer) / 'histograms.json').read_text())
  assert sum(counts['code_counts']) == 20 * 16


def test_evaluation_equals_the_metrics_of_the_whole_set(source, tokenizer):
  model = vq_jax.load(tokenizer)
  images = np.load(source.removeprefix('npz:'))['images'][:20]
  error = np.square(np.asarray(model.reconstruct(images)) - images / 255.0)
  last = writers.last_evaluation(pathlib.Path(tokenizer))
  np.testing.assert_allclose(
    last['psnr'], -10 * np.log10(error.mean()), atol=1e-3
  )
  per_image = -10 * np.log10(error.mean(axis=(1, 2, 3)))
  np.testing.assert_allclose(
    last['psnr_per_image'], per_image.mean(), atol=1e-3
  )


def test_other_images_than_the_autoencoders_are_refused(tokenizer, tmp_path):
  (tmp_path / 'big').mkdir()
  source = tiny_configs.write_images(tmp_path / 'big', size=16)
  with pytest.raises(schema.ConfigError, match='trained on images'):
    loop.train(tiny_configs.prior(source, tokenizer), tmp_path / 'run')


def test_batches_must_divide_over_the_devices_that_are_asked_for(
  source, tmp_path
):
  config = tiny_configs.autoencoder(source)
  config['data']['batch_size'] = 12
  config['parallel']['data'] = 8
  with pytest.raises(schema.ConfigError, match='multiple of the 8 devices'):
    loop.train(config, tmp_path)


@pytest.mark.parametrize(
  ('mode', 'batches', 'data', 'used'),
  [
    ('jit', (12, 8), -1, 4),
    ('pmap', (12, 8), -1, 4),
    ('jit', (1, 20), -1, 1),
    ('pmap', (1, 20), 1, 1),
    ('jit', (16, 8), 1, 1),
  ],
)
def test_as_many_devices_as_the_batches_divide_over_are_used(
  mode, batches, data, used, source, tmp_path
):
  config = tiny_configs.autoencoder(source)
  config['data'] |= dict(
    zip(('batch_size', 'eval_batch_size'), batches, strict=True)
  )
  config['parallel'] = {'mode': mode, 'data': data}
  config['train']['total_steps'] = 2
  runner = sharding.make_runner(
    schema.ParallelConfig(**config['parallel']), batch_sizes=batches
  )
  assert runner.mesh.size == used
  if used == 4:  # of 8 devices
    assert np.isfinite(loop.train(config, tmp_path)['mse'])


SCRIPT = """
import sys
import jax
jax.config.update('jax_num_cpu_devices', 1)
from tests.train import tiny_configs
from train import errors, loop
source, workdir = sys.argv[1:]
config = tiny_configs.autoencoder(source, total_steps=400,
                         eval_every={'steps': 1000}, save_every={'steps': 20})
sys.exit(errors.run_with_error_messages(lambda: loop.train(config, workdir)))
"""


def start(source, workdir) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-c', SCRIPT, source, str(workdir)],
    stderr=subprocess.PIPE,
    text=True,
  )


def wait_for_checkpoint(folder: pathlib.Path, process) -> None:
  import orbax.checkpoint as ocp

  path = folder / layout.CHECKPOINTS
  while not (path.is_dir() and ocp.utils.checkpoint_steps(path)):
    assert process.poll() is None, process.stderr.read()
    time.sleep(0.05)


@pytest.mark.slow
def test_killed_runs_resume_to_the_bit(source, tmp_path):
  """kill -9 at arbitrary moments, then SIGINT, then to the end."""
  whole = start(source, tmp_path / 'whole')
  assert whole.wait() == 0, whole.stderr.read()
  for delay in (0.0, 0.21):
    process = start(source, tmp_path / 'killed')
    wait_for_checkpoint(tmp_path / 'killed', process)
    time.sleep(delay)
    process.kill()
    process.wait()
  process = start(source, tmp_path / 'killed')
  for line in process.stderr:
    if 'the first step took' in line:
      process.send_signal(signal.SIGINT)
      break
  _, errors = process.communicate()
  if process.returncode:  # else it was done before the signal came
    assert process.returncode == 130, errors
    assert 'The same command resumes the training' in errors
  last = start(source, tmp_path / 'killed')
  assert last.wait() == 0, last.stderr.read()
  assert_same(saved(tmp_path / 'whole'), saved(tmp_path / 'killed'))
  steps = [
    r['step']
    for r in writers.read_metrics(tmp_path / 'killed')
    if r['kind'] == 'train'
  ]
  assert steps == sorted(set(steps))


def test_codebook_metrics_of_a_window_count_all_its_steps():
  """Each step uses two codes, the window all eight."""
  window = window_lib.Window(0, batch_size=1)
  for step in range(4):
    counts = np.zeros(8, np.float32)
    counts[2 * step : 2 * step + 2] = 5
    window.add({'loss': np.float32(step), 'code_counts': {'': counts}})
  means = window.flush()
  assert means['window_usage'] == 1.0 and means['loss'] == 1.5
  np.testing.assert_allclose(means['window_perplexity'], 8, rtol=1e-5)
  assert window.flush() == {}


def test_images_without_classes_train_an_unconditional_prior(
  tokenizer, tmp_path
):
  """One class, as a flat folder gives: no label, no guidance, no failure."""
  config = tiny_configs.prior(
    tiny_configs.write_images(tmp_path, classes=1), tokenizer
  )
  assert config['sampler']['guidance'] > 0
  loop.train(config, tmp_path / 'prior')
  model = vq_jax.load(tmp_path / 'prior')
  assert model.vocab.num_classes == 0
  assert model.generate(0, num=2).shape == (2, 8, 8, 1)
  with pytest.raises(ValueError, match='has no classes'):
    model.generate(0, labels=[0])


def test_image_grids_can_be_left_out(source, tmp_path):
  config = tiny_configs.autoencoder(source, total_steps=2, num_images=0)
  assert loop.train(config, tmp_path)['psnr'] > 0
  assert not (tmp_path / 'samples').exists()
  page = (tmp_path / 'report.html').read_text()
  assert 'psnr' in page and 'data:image/png' not in page


def test_classes_can_be_left_out(source, tokenizer, tmp_path):
  config = tiny_configs.prior(source, tokenizer)
  config['conditional'] = False
  del config['sampler']
  loop.train(config, tmp_path)
  model = vq_jax.load(tmp_path)
  assert model.vocab.num_classes == 0
  assert model.generate(0, num=2).shape == (2, 8, 8, 1)


def test_label_drop_adds_a_null_class(source, tokenizer, maskgit, tmp_path):
  assert vq_jax.load(maskgit).vocab.null_class
  config = tiny_configs.prior(source, tokenizer)
  config['loss'] = {'unmasked_weight': 0.1, 'min_ratio': 0.4, 'label_drop': 0.0}
  config['sampler']['guidance'] = 0.0
  loop.train(config, tmp_path)
  assert not vq_jax.load(tmp_path).vocab.null_class
