"""A damaged checkpoint is found, named and not used; the one before is."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import vq_jax
from tests.train import tiny_configs
from tests.train.saving import assert_same
from tests.train.saving import saved
from train import loop
from vq_jax.runs import checkpoints
from vq_jax.runs import checksums
from vq_jax.runs import layout


@pytest.fixture
def run(tokenizer, tmp_path) -> pathlib.Path:
  """A run with the checkpoints of steps 4 and 8, of which it is the last."""
  return shutil.copytree(tokenizer, tmp_path / 'run')


def largest(run: pathlib.Path, step: int, item: str) -> pathlib.Path:
  folder = run / layout.CHECKPOINTS / str(step) / item
  files = [p for p in folder.rglob('*') if p.is_file()]
  return max(files, key=lambda p: p.stat().st_size)


def flip_a_bit(path: pathlib.Path) -> None:
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def cut_off(path: pathlib.Path) -> None:
  path.write_bytes(path.read_bytes()[:-1])


def snapshot(folder: pathlib.Path) -> dict[str, bytes]:
  files = [p for p in folder.rglob('*') if p.is_file()]
  return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_every_checkpoint_lists_its_files(tokenizer):
  """The parts that Orbax writes after the list are the only ones not in it."""
  for step in (4, 8):
    folder = pathlib.Path(tokenizer) / layout.CHECKPOINTS / str(step)
    assert checksums.find_damage(folder) is None
    lines = (folder / checksums.NAME).read_text().splitlines()
    listed = {line.split('  ')[1] for line in lines}
    there = snapshot(folder).keys() - {checksums.NAME}
    assert there - listed <= {'_CHECKPOINT_METADATA', 'commit_success.txt'}
    assert listed <= there


@pytest.mark.parametrize(
  ('damage', 'message'),
  [
    (flip_a_bit, 'is not what was saved'),
    (cut_off, 'is not what was saved'),
    (pathlib.Path.unlink, 'is missing'),
  ],
)
@pytest.mark.parametrize('item', ['variables', 'ema', 'training', 'data'])
def test_any_damage_is_found(damage, message, item, run):
  file = largest(run, 8, item)
  damage(file)
  step, damaged = checkpoints.find_undamaged(run)
  assert step == 4 and message in damaged[8] and file.name in damaged[8]


def test_a_damaged_list_is_damage(run):
  path = run / layout.CHECKPOINTS / '8' / checksums.NAME
  content = path.read_bytes()
  for damaged in (b'', content[: len(content) // 2], content.swapcase()):
    path.write_bytes(damaged)
    assert checkpoints.find_undamaged(run)[0] == 4


def test_training_goes_on_from_the_checkpoint_before_to_the_bit(
  source, tokenizer, run
):
  """Also with damage where Orbax keeps no more than the times of a save."""
  file = largest(run, 8, 'training')
  flip_a_bit(file)
  metadata = run / layout.CHECKPOINTS / '4' / '_CHECKPOINT_METADATA'
  metadata.write_text('{')
  before = snapshot(run / layout.CHECKPOINTS / '8')
  with pytest.warns(checkpoints.DamagedCheckpointWarning) as warned:
    loop.train(tiny_configs.autoencoder(source), run)
  (line,) = [str(w.message) for w in warned if 'damaged' in str(w.message)]
  for part in ('checkpoints/8 ', file.name, 'step 4 is used'):
    assert part in line
  assert_same(saved(tokenizer), saved(run))
  assert snapshot(run / layout.DAMAGED / '8') == before
  assert checkpoints.find_undamaged(run) == (8, {})


def test_without_a_good_checkpoint_there_is_one_error_and_no_change(
  source, run
):
  names = []
  for step in (4, 8):
    names.append(largest(run, step, 'variables'))
    flip_a_bit(names[-1])
  before = snapshot(run / layout.CHECKPOINTS)
  with pytest.raises(layout.RunError, match='all checkpoints in .*') as error:
    loop.train(tiny_configs.autoencoder(source), run)
  assert all(path.name in str(error.value) for path in names)
  with pytest.raises(layout.RunError, match='are damaged'):
    vq_jax.load(run)
  assert snapshot(run / layout.CHECKPOINTS) == before
  assert not (run / layout.DAMAGED).exists()


def test_loading_uses_the_checkpoint_before_and_says_so(run):
  want, _ = checkpoints.load_variables(copy_with_only(run, 4))
  flip_a_bit(largest(run, 8, 'ema'))
  with pytest.warns(checkpoints.DamagedCheckpointWarning, match='skipped: the'):
    got, step = checkpoints.load_variables(run)
  assert step == 4
  jax.tree.map(np.testing.assert_array_equal, want, got)


def copy_with_only(run: pathlib.Path, step: int) -> pathlib.Path:
  """A copy of a run with one of its checkpoints."""
  copy = run.with_name(f'only_{step}')
  name = f'{layout.CHECKPOINTS}/{step}'
  shutil.copytree(run / name, copy / name)
  return copy


def test_loading_needs_no_optimizer(run):
  """Damage in what it does not read does not matter."""
  flip_a_bit(largest(run, 8, 'training'))
  assert checkpoints.load_variables(run)[1] == 8


def test_a_checkpoint_of_an_earlier_version_has_no_list_and_is_used(run):
  (run / layout.CHECKPOINTS / '8' / checksums.NAME).unlink()
  assert checkpoints.find_undamaged(run) == (8, {})


def test_damaged_checkpoints_are_kept_one_beside_the_other(run):
  checkpoints.set_aside(run, [8])
  shutil.copytree(
    run / layout.CHECKPOINTS / '4', run / layout.CHECKPOINTS / '8'
  )
  checkpoints.set_aside(run, [8])
  assert {p.name for p in (run / layout.DAMAGED).iterdir()} == {'8', '8_1'}


# Files cannot be longer than a part of a checkpoint, as on a disk that is full
# while several parts are written.
SHORT_FILES = """
import json
import resource
import sys
from train import errors, loop
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
config, workdir = json.loads(sys.argv[1]), sys.argv[2]
sys.exit(errors.run_with_error_messages(lambda: loop.train(config, workdir)))
"""


@pytest.mark.slow
def test_parts_that_cannot_be_written_end_in_one_line(source, tmp_path):
  config = tiny_configs.autoencoder(source)
  for part in ('encoder', 'decoder'):
    config['model'][part] |= {'channels': 64, 'inner_channels': 64}
  done = subprocess.run(
    [sys.executable, '-c', SHORT_FILES, json.dumps(config), str(tmp_path)],
    capture_output=True,
    text=True,
    env={**os.environ, 'JAX_ENABLE_COMPILATION_CACHE': 'false'},
  )
  assert done.returncode == 1
  assert 'Traceback' not in done.stderr
  last = done.stderr.splitlines()[-1]
  assert last.startswith('error: a checkpoint could not be written, nothing is')
