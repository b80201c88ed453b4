"""The devices and meshes of a run."""

import os
import re
import signal
import socket
import subprocess
import sys

import jax
import pytest

import vq_jax
from tests.train.saving import assert_same
from train import devices as devices_lib
from train import sharding
from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax.config import schema
from vq_jax.utils import trees


@pytest.mark.parametrize(
  ('environ', 'several'),
  [
    ({}, False),
    ({'SLURM_STEP_NUM_TASKS': '1'}, False),
    ({'TPU_WORKER_HOSTNAMES': 'localhost'}, False),
    ({'SLURM_STEP_NUM_TASKS': '4'}, True),
    ({'OMPI_COMM_WORLD_SIZE': '2'}, True),
    ({'JAX_COORDINATOR_ADDRESS': 'host:1234'}, True),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, True),
  ],
)
def test_other_processes_are_joined_if_there_are_some(
  environ, several, monkeypatch
):
  joined = []
  monkeypatch.setattr(jax.distributed, 'initialize', lambda: joined.append(1))
  assert devices_lib.initialize_distributed(environ) == several
  assert len(joined) == several


def test_the_axis_reaches_every_module_that_has_one():
  module = autoencoders.VQVAE(
    encoder=autoencoders.PatchEncoder(),
    quantizer=quantizers.EMAVectorQuantizer(8, 4),
    decoder=autoencoders.PatchDecoder(),
  )
  bound = sharding.bind_axis(module, 'batch')
  assert bound.quantizer.axis_name == 'batch'
  assert module.quantizer.axis_name is None
  assert bound.encoder == module.encoder


def test_unknown_modes_are_named():
  with pytest.raises(schema.ConfigError, match="'jit' or 'pmap'; got 'pjit'"):
    sharding.make_runner(schema.ParallelConfig(mode='pjit'))


@pytest.mark.parametrize(
  ('batches', 'cores', 'devices'),
  [((32, 200), 2, 2), ((32, 200), 3, 2), ((9, 12), 8, 1), ((64, 64), 16, 8)],
)
def test_cores_become_devices_that_divide_the_batches(batches, cores, devices):
  assert devices_lib.count_cpu_devices(cores, batches) == devices


def test_cores_become_devices_before_jax_starts_them():
  script = """
import os
os.sched_getaffinity = lambda pid: range(3)
from train import devices
devices.use_cpu_cores(32, 200)
import jax
print(jax.device_count())
devices.use_cpu_cores(1)  # too late, and harmless
"""
  out = subprocess.run(
    [sys.executable, '-c', script],
    capture_output=True,
    text=True,
    check=True,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
  ).stdout
  assert int(out) == 2


PROCESS = """
import sys
import time
import jax
index, port, source, workdir, seconds = sys.argv[1:]
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.config.update('jax_num_cpu_devices', 1)
jax.distributed.initialize(f'localhost:{port}', 2, int(index))
from tests.train import tiny_configs
from train import errors, loop
from vq_jax.data import pipeline
read = pipeline.TrainIterator.__next__
def read_slowly(self):
  time.sleep(float(seconds))
  return read(self)
pipeline.TrainIterator.__next__ = read_slowly
config = {**tiny_configs.autoencoder(source), 'parallel': {}}
sys.exit(errors.run_with_error_messages(lambda: loop.train(config, workdir)))
"""


def start_two(source, workdir, seconds: float) -> list[subprocess.Popen]:
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  rest = [str(port), source, str(workdir), str(seconds)]
  return [
    subprocess.Popen(
      [sys.executable, '-c', PROCESS, str(i), *rest],
      stderr=subprocess.PIPE,
      text=True,
    )
    for i in range(2)
  ]


@pytest.mark.slow
def test_two_processes_compute_what_one_does(source, tokenizer, tmp_path):
  """SIGTERM to one of them stops both after the same step, saved.

  The first steps are slow, since JAX agrees on a step within a few seconds.
  """
  both = start_two(source, tmp_path, seconds=3)
  for line in both[0].stderr:
    if 'the first step took' in line:
      both[1].send_signal(signal.SIGTERM)
      break
  errors = [process.communicate()[1] for process in both]
  codes = [process.returncode for process in both]
  assert codes == [143, 143], errors
  stopped = [re.findall(r'saved at step (\d+) of 8', e) for e in errors]
  assert stopped[0] == stopped[1] and int(stopped[0][0]) < 8
  both = start_two(source, tmp_path, seconds=0)
  errors = [process.communicate()[1] for process in both]
  assert [process.returncode for process in both] == [0, 0], errors

  one, two = (
    trees.flatten(vq_jax.load(folder).variables['autoencoder'])
    for folder in (tokenizer, tmp_path)
  )
  assert_same(one, two, atol=5e-5)


def test_an_unsupported_compiler_option_is_left_out(monkeypatch):
  devices_lib.get_compiler_options.cache_clear()
  assert devices_lib.get_compiler_options() == devices_lib._CPU_OPTIONS
  monkeypatch.setattr(devices_lib, '_CPU_OPTIONS', {'xla_cpu_nothing': '1'})
  devices_lib.get_compiler_options.cache_clear()
  assert devices_lib.get_compiler_options() is None
  devices_lib.get_compiler_options.cache_clear()
