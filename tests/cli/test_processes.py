"""Programs that share their work between several processes."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from vq_jax.data import tokens as tokens_lib

PROGRAM = """
import sys
import jax
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.config.update('jax_num_cpu_devices', 2)
from vq_jax.cli import main
sys.exit(main.main(sys.argv[1:]))
"""


def run(count: int, *arguments: str) -> None:
  """Runs a command in several processes, as their environment says."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  several = {'JAX_COORDINATOR_ADDRESS': address, 'JAX_NUM_PROCESSES': count}
  processes = [
    subprocess.Popen(
      [sys.executable, '-c', PROGRAM, *arguments],
      env={
        **os.environ,
        **({k: str(v) for k, v in several.items()} if count > 1 else {}),
        'JAX_PROCESS_ID': str(index),
      },
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in range(count)
  ]
  errors = [process.communicate(timeout=500)[1] for process in processes]
  assert not any(process.returncode for process in processes), errors


@pytest.mark.slow
def test_two_processes_generate_the_images_of_one(maskgit, tmp_path):
  options = ['generate', maskgit, '--num', '5', '--batch-size', '2', '--out']
  run(1, *options, str(tmp_path / 'one.png'))
  run(2, *options, str(tmp_path / 'two.png'))
  one, two = (
    np.asarray(Image.open(tmp_path / f'{name}.png'), int)
    for name in ('one', 'two')
  )
  assert np.abs(one - two).max() <= 1


@pytest.mark.slow
def test_two_processes_write_the_tokens_of_one(source, tokenizer, tmp_path):
  for count in (1, 2):
    run(
      count,
      *('tokenize', tokenizer, '--data', source, '--shard-size', '10'),
      *('--out', str(tmp_path / str(count))),
    )
  one, two = (
    tokens_lib.TokenSource(pathlib.Path(tmp_path / str(count)), 'train')
    for count in (1, 2)
  )
  assert len(one) == len(two) == 48
  for i in range(48):
    for name, value in one[i].items():
      np.testing.assert_array_equal(value, two[i][name], err_msg=name)


@pytest.mark.slow
def test_two_processes_compute_the_numbers_of_one(maskgit, tmp_path):
  values = {}
  for count in (1, 2):
    out = tmp_path / f'{count}.json'
    run(
      count,
      *('evaluate', maskgit, '--num', '22', '--batch-size', '4'),
      *('--features', 'classifier', '--metrics', 'fid,is,kid,pr,cas'),
      *('--out', str(out)),
    )
    results = json.loads(out.read_text())['results']
    values[count] = [(r['value'], r['floor']) for r in results]
  np.testing.assert_allclose(values[1], values[2], rtol=1e-3)
