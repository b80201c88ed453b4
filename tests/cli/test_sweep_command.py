"""`vqjax evaluate RUN --sweep`."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from vq_jax.cli import main as cli


@pytest.fixture(scope='module')
def run_folder(maskgit, tmp_path_factory):
  """A copy of a run, since the command writes into it."""
  return shutil.copytree(maskgit, tmp_path_factory.mktemp('sweep') / 'run')


def evaluate(capsys, folder, *argv):
  code = cli.main(
    ['evaluate', str(folder), '--num', '12', '--features', 'classifier']
    + ['--metrics', 'fid,is', *argv]
  )
  captured = capsys.readouterr()
  return code, captured.out, captured.err


def test_a_sweep_writes_a_table_and_resumes(run_folder, capsys):
  sweep = ['--sweep', 'guidance=0,2', '--sweep', 'steps=2']
  code, out, err = evaluate(capsys, run_folder, *sweep)
  assert code == 0, err
  assert '2/2: guidance=2.0,steps=2\n' in out
  assert ' '.join(out.splitlines()[2].split()) == 'guidance steps fid is'
  path = run_folder / 'evaluation' / 'sweep-classifier-12.json'
  rows = json.loads(path.read_text())
  assert [row['guidance'] for row in rows] == [0.0, 2.0]
  sampling = rows[1]['record']['sampling'][-1]
  assert sampling['guidance'] == 2.0 and sampling['steps'] == 2
  path.unlink()
  code, out, _ = evaluate(capsys, run_folder, *sweep)
  assert code == 0 and out.count('evaluated already') == 2
  assert json.loads(path.read_text()) == rows


def test_another_reference_set_is_evaluated_again(run_folder, tmp_path, capsys):
  rng = np.random.default_rng(0)

  def write(number):
    pixels = rng.integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f'{number}.png')

  for number in range(12):
    write(number)
  sweep = ['--sweep', 'steps=2', '--reference', str(tmp_path)]
  for again in (False, True):
    code, out, err = evaluate(capsys, run_folder, *sweep)
    assert code == 0, err
    assert ('evaluated already' in out) == again
  write(0)
  code, out, _ = evaluate(capsys, run_folder, *sweep)
  assert code == 0 and 'evaluated already' not in out


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    (['--sweep', 'guidnce=1'], "unknown sampling option 'guidnce'"),
    (['--sweep', 'steps=1,x'], 'steps must be a whole number'),
    (['--sweep', 'steps=1,0'], 'steps must be'),
    (['--sweep', 'steps=1', '--steps', '2'], 'steps is given twice'),
    (['--sweep', 'steps=1', '--save-samples', 'a.npz'], '--save-samples'),
    (['--sweep', 'steps=1', '--resizer', 'clean'], 'leave weights and resizer'),
  ],
)
def test_mistakes_get_one_clear_line(run_folder, capsys, argv, message):
  code, out, err = evaluate(capsys, run_folder, *argv)
  assert code == 1 and not out
  assert err.startswith('error: ') and message in err
  assert err.count('\n') == 1


def test_two_folders_have_no_sweep(capsys):
  code = cli.main(
    ['evaluate', '--generated', 'a', '--reference', 'b', '--sweep', 'steps=1']
  )
  assert code == 1
  assert 'without sampling options' in capsys.readouterr().err
