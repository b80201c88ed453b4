"""The errors if the images have changed since a run began."""

import types

import numpy as np
import pytest

from train import checkpointing
from train import run_folder
from vq_jax import data
from vq_jax.runs import checkpoints
from vq_jax.runs import layout

HELP = 'Bring the same files back, or begin a new run .*--config.init_from='


def test_one_image_more_than_the_run_was_trained_on(tmp_path, monkeypatch):
  def batches(count):
    images = np.zeros((count, 2, 2), np.uint8)
    return data.train_batches(data.ArraySource(images), batch_size=2, seed=0)

  state = batches(4).get_state()
  monkeypatch.setattr(checkpoints, 'restore', lambda *_: (None, state))
  monkeypatch.setattr(checkpoints, 'find_undamaged', lambda _: (3, {}))
  manager = types.SimpleNamespace(close=lambda: None)
  monkeypatch.setattr(checkpoints, 'manager', lambda *_, **__: manager)
  runner = types.SimpleNamespace(abstract=lambda x: x)
  parts = types.SimpleNamespace(to_items=lambda: None)
  checkpointer = checkpointing.Checkpointer(tmp_path / 'run', runner, keep=1)
  with pytest.raises(
    layout.RunError,
    match=f'length is 4 in the state and 5 here.*{HELP}{tmp_path / "run"}',
  ):
    checkpointer.restore(parts, batches(5))


def test_classes_that_are_others_or_in_another_order(tmp_path):
  def config(*names):
    return {'config': {}, 'dataset': {'class_names': list(names)}}

  old = config('1', '10', '2')
  with pytest.raises(layout.RunError, match=HELP) as error:
    run_folder.refuse_another(tmp_path, old, config('1', '2', '10'))
  assert 'in another order' in str(error.value)
  with pytest.raises(layout.RunError, match=HELP) as error:
    run_folder.refuse_another(tmp_path, old, config('1', '2'))
  assert 'in another order' not in str(error.value)
  other = {**old, 'config': {'seed': 1}}
  with pytest.raises(layout.RunError) as error:
    run_folder.refuse_another(tmp_path, old, other)
  assert 'Bring' not in str(error.value)
