"""Between two lines of metrics, the host transfers nothing and is ahead."""

import jax
import pytest

from tests.train import tiny_configs
from train import loop
from train import run as run_lib


@pytest.mark.parametrize(
  ('parallel', 'on_nonfinite'),
  [({'data': 4, 'fsdp': 2}, 'skip'), ({'mode': 'pmap'}, 'stop')],
  ids=['mesh', 'pmap'],
)
def test_steps_transfer_nothing_implicitly(
  parallel, on_nonfinite, source, tmp_path
):
  """Batches reach the devices before the step, and metrics stay on them."""
  config = tiny_configs.autoencoder(source, on_nonfinite=on_nonfinite)
  config['parallel'] = parallel
  with run_lib.open_run(config, tmp_path) as run:
    trainer = loop.Loop(run)
    for _ in range(2):  # compiles the step, and the sum of the code counts
      trainer._take_step()
    with jax.transfer_guard('disallow'):
      for _ in range(3):
        trainer._take_step()
