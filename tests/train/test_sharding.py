"""The devices and meshes of a run."""

import os
import subprocess
import sys

import jax
import pytest

from train import sharding
from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax.config import schema
from vq_jax.utils import cpu
from vq_jax.utils import devices as utils_devices


@pytest.mark.parametrize(
  ('environ', 'several'),
  [
    ({}, False),
    ({'SLURM_STEP_NUM_TASKS': '1'}, False),
    ({'TPU_WORKER_HOSTNAMES': 'localhost'}, False),
    ({'SLURM_STEP_NUM_TASKS': '4'}, True),
    ({'OMPI_COMM_WORLD_SIZE': '2'}, True),
    (
      {
        'JAX_COORDINATOR_ADDRESS': 'host:1234',
        'JAX_NUM_PROCESSES': '2',
        'JAX_PROCESS_ID': '1',
      },
      True,
    ),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, True),
  ],
)
def test_other_processes_are_joined_if_there_are_some(
  environ, several, monkeypatch
):
  joined = []
  monkeypatch.setattr(
    jax.distributed, 'initialize', lambda **options: joined.append(options)
  )
  assert utils_devices.initialize_distributed(environ) == several
  assert len(joined) == several


@pytest.mark.parametrize('number', [None, '', 'two', '0'])
def test_an_address_without_a_number_of_processes_is_refused(number):
  environ = {'JAX_COORDINATOR_ADDRESS': 'host:1234'}
  if number is not None:
    environ['JAX_NUM_PROCESSES'] = number
  with pytest.raises(ValueError, match='JAX_NUM_PROCESSES must be an integer'):
    utils_devices.initialize_distributed(environ)


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
  assert cpu.count_cpu_devices(cores, batches) == devices


def test_cores_become_devices_before_jax_starts_them():
  script = """
import os
os.sched_getaffinity = lambda pid: range(3)
from vq_jax.utils import cpu
cpu.use_cpu_cores(32, 200)
import jax
print(jax.device_count())
cpu.use_cpu_cores(1)  # too late, and harmless
"""
  out = subprocess.run(
    [sys.executable, '-c', script],
    capture_output=True,
    text=True,
    check=True,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
  ).stdout
  assert int(out) == 2
