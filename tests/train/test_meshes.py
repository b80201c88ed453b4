"""Any mesh, and any number of processes, computes what one device does."""

import collections
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys

import jax
import pytest

from tests.train import tiny_configs
from tests.train.saving import assert_same
from tests.train.saving import saved
from tests.train.test_loop import stop_after
from train import loop
from train import partitioning
from train import preemption
from train import run as run_lib
from train.logging import writers
from train.planning import hlo
from vq_jax.runs import checkpoints

PATCHGAN = {
  'discriminator': {'type': 'patchgan', 'channels': 8, 'layers': 1},
  'weight': 0.1,
  'start': {'steps': 2},
  'discriminator_start': {'steps': 0},
}


@pytest.fixture(autouse=True)
def split_small_arrays(monkeypatch):
  """Models of tests have no large ones."""
  monkeypatch.setattr(partitioning, 'MIN_SIZE', 2)


def losses(folder) -> list[float]:
  records = writers.read_metrics(pathlib.Path(folder))
  return [r['loss'] for r in records if r['kind'] == 'train']


def shares(state) -> list[float]:
  """Bytes that a device holds, over those of the state, by device."""
  leaves = jax.tree.leaves(state)
  held = dict.fromkeys(jax.devices(), 0)
  for leaf in leaves:
    for shard in leaf.addressable_shards:
      held[shard.device] += shard.data.nbytes
  return [n / sum(leaf.nbytes for leaf in leaves) for n in held.values() if n]


@pytest.mark.parametrize(
  'mesh',
  [{'data': 2, 'fsdp': 2, 'tensor': 2}, {'data': 1, 'fsdp': 8}],
  ids=['data-fsdp-tensor', 'fsdp'],
)
def test_a_prior_on_a_mesh(mesh, source, tokenizer, maskgit, tmp_path):
  config = tiny_configs.prior(source, tokenizer)
  config['parallel'] = {'mode': 'jit', **mesh}
  loop.train(config, tmp_path)
  assert losses(tmp_path) == pytest.approx(losses(maskgit), abs=1e-5)
  assert_same(saved(maskgit), saved(tmp_path), atol=2e-5)


def test_an_autoencoder_and_its_discriminator_on_a_mesh(source, tmp_path):
  config = tiny_configs.autoencoder(source)
  config |= {'task': 'adversarial', 'adversary': PATCHGAN}
  loop.train(config, tmp_path / 'one')
  config['parallel'] = {'mode': 'jit', 'data': 2, 'fsdp': 4}
  loop.train(config, tmp_path / 'many')
  one, many = tmp_path / 'one', tmp_path / 'many'
  assert losses(one) == pytest.approx(losses(many), abs=1e-5)
  assert_same(saved(one), saved(many), atol=5e-5)


@pytest.mark.slow
def test_accumulation_on_a_mesh(source, tmp_path):
  config = tiny_configs.autoencoder(source)
  config['optim']['accumulate'] = 2
  loop.train(config, tmp_path / 'one')
  config['parallel'] = {'mode': 'jit', 'data': 2, 'fsdp': 4}
  loop.train(config, tmp_path / 'many')
  # Where codes are chosen, the order of summation decides near ties.
  assert losses(tmp_path / 'one') == pytest.approx(
    losses(tmp_path / 'many'), abs=1e-4
  )


@pytest.mark.slow
def test_a_run_goes_on_on_other_meshes(
  source, tokenizer, maskgit, tmp_path, monkeypatch
):
  config = tiny_configs.prior(source, tokenizer)
  for parallel, steps in (({'data': 1, 'fsdp': 4}, 3), ({'data': 4}, 3)):
    config['parallel'] = parallel
    with monkeypatch.context() as patched:
      stop_after(patched, steps)
      with pytest.raises(preemption.Interrupted):
        loop.train(config, tmp_path)
  assert checkpoints.latest_step(tmp_path) == 6
  config['parallel'] = {'data': 1}
  loop.train(config, tmp_path)
  assert_same(saved(maskgit), saved(tmp_path), atol=2e-5)


def test_a_device_holds_its_part_of_the_state(source, tokenizer, tmp_path):
  """The parameters, averages, moments, and the frozen tokenizer."""
  config = tiny_configs.prior(source, tokenizer)
  config['model']['transformer'] |= {'width': 64, 'mlp_width': 256}
  config['parallel'] = {'mode': 'jit', 'data': 2, 'fsdp': 4}
  with run_lib.open_run(config, tmp_path) as run:
    jax.block_until_ready(run.state)
    state = jax.tree.leaves(run.state)
    assert len({leaf.sharding.mesh for leaf in state}) == 1
    assert shares(run.state) == pytest.approx([1 / 4] * 8, rel=0.02)
    assert shares(run.state.opt_state) == pytest.approx([1 / 4] * 8, rel=0.02)
    runner, step = run.runner, loop.Loop(run).get_step()
    batch = next(run.batches)
    check_communication(step.lower(run.state, batch), run.state)
    state, _ = step(run.state, batch)
    assert shares(state) == pytest.approx([1 / 4] * 8, rel=0.02)
    assert jax.tree.map(lambda x: x.sharding.spec, state) == jax.tree.map(
      lambda s: s.spec, runner.get_shardings(state)
    )


def check_communication(lowered, state) -> None:
  """Parameters are gathered twice and gradients summed once, and no more.

  Gradients are summed over `fsdp`, and then a quarter of them over `data`.
  Activations, of which a device has only those of its own examples, are larger
  here and never exchanged.
  """
  sent = collections.Counter()
  for found in hlo.Program(lowered.compile().as_text()).get_collectives():
    sent[found.kind] += found.bytes * found.times
  params, frozen = (
    sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    for tree in (state.params, state.frozen)
  )
  assert sent['all-gather'] < 1.1 * (2 * params + frozen)
  assert sent['all-reduce'] == pytest.approx(1.25 * params, rel=0.1)


PROCESS = """
import json
import sys
import time
import jax
index, count, port, workdir, seconds, patience, config = sys.argv[1:]
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.config.update('jax_num_cpu_devices', 1)
if int(count) > 1:
  jax.distributed.initialize(f'localhost:{port}', int(count), int(index),
                             heartbeat_timeout_seconds=int(patience))
from train import errors, loop, partitioning
from vq_jax.data import pipeline
partitioning.MIN_SIZE = 2
read = pipeline.TrainIterator.__next__
def read_slowly(self):
  time.sleep(float(seconds))
  return read(self)
pipeline.TrainIterator.__next__ = read_slowly
config = json.loads(config)
sys.exit(errors.run_with_error_messages(lambda: loop.train(config, workdir)))
"""


def start(
  count: int,
  config: dict,
  workdir: pathlib.Path,
  seconds: float = 0,
  patience: int = 100,
) -> list[subprocess.Popen]:
  """Starts the processes of one training, which sleep before each step.

  They give up when one of them has not been heard of for `patience` seconds.
  """
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  rest = [count, port, workdir, seconds, patience, json.dumps(config)]
  return [
    subprocess.Popen(
      [sys.executable, '-c', PROCESS, str(i), *map(str, rest)],
      stderr=subprocess.PIPE,
      text=True,
    )
    for i in range(count)
  ]


def finish(processes: list[subprocess.Popen], code: int = 0) -> list[str]:
  """Waits for all; returns what they wrote to stderr."""
  errors = [process.communicate(timeout=500)[1] for process in processes]
  assert [process.returncode for process in processes] == [
    code for _ in processes
  ], errors
  return errors


@pytest.mark.slow
@pytest.mark.parametrize(
  ('count', 'parallel'),
  [(2, {}), (2, {'fsdp': 2}), (4, {'fsdp': 2}), (2, {'mode': 'pmap'})],
)
def test_several_processes_compute_what_one_does(
  count, parallel, source, tokenizer, maskgit, tmp_path
):
  config = tiny_configs.prior(source, tokenizer)
  config['parallel'] = parallel
  finish(start(count, config, tmp_path))
  assert losses(tmp_path) == pytest.approx(losses(maskgit), abs=1e-5)
  assert_same(saved(maskgit), saved(tmp_path), atol=2e-5)


@pytest.mark.slow
def test_sigterm_to_one_process_stops_all_and_other_numbers_go_on(
  source, tokenizer, tmp_path
):
  """All save the same step; the first steps are slow, so that they agree."""
  config = {**tiny_configs.autoencoder(source), 'parallel': {'fsdp': 2}}
  both = start(2, config, tmp_path, seconds=3)
  for line in both[0].stderr:
    if 'the first step took' in line:
      both[1].send_signal(signal.SIGTERM)
      break
  errors = finish(both, code=143)
  stopped = [re.findall(r'saved at step (\d+) of 8', e) for e in errors]
  assert stopped[0] == stopped[1] and int(stopped[0][0]) < 8
  finish(start(1, {**config, 'parallel': {}}, tmp_path))
  assert_same(saved(tokenizer), saved(tmp_path), atol=5e-5)


@pytest.mark.slow
def test_a_process_that_is_killed_costs_the_steps_since_the_last_checkpoint(
  source, tokenizer, maskgit, tmp_path
):
  config = tiny_configs.prior(source, tokenizer, save_every={'steps': 2})
  config['parallel'] = {'fsdp': 2}
  both = start(2, config, tmp_path, seconds=1, patience=30)
  for line in both[0].stderr:
    if 'step 4/8' in line:
      both[1].kill()
      break
  for process in both:
    process.communicate(timeout=500)
  assert all(process.returncode for process in both)
  assert checkpoints.latest_step(tmp_path) in (2, 4)
  finish(start(2, config, tmp_path))
  assert_same(saved(maskgit), saved(tmp_path), atol=2e-5)
