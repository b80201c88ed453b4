"""`vqjax convert`: from a released file to a run."""

import numpy as np
import pytest
import yaml
from PIL import Image

import vq_jax
from tests.convert.released import CONFIG
from tests.convert.released import GOLDEN
from tests.convert.released import make_weights
from tests.convert.writing import save
from vq_jax.cli import convert as command
from vq_jax.cli import main as cli

TOY = GOLDEN / 'taming_vqgan_toy.ckpt'


def run(capsys, *argv) -> tuple[int, str, str]:
  code = cli.main([str(arg) for arg in argv])
  captured = capsys.readouterr()
  return code, captured.out, captured.err


def test_a_released_file_becomes_a_run(tmp_path, capsys):
  folder = tmp_path / 'runs' / 'vqgan'
  code, out, _ = run(capsys, 'convert', 'taming-vqgan', TOY, '--out', folder)
  assert code == 0
  assert out.count('\n') == 1
  for part in (str(folder), 'taming-vqgan', '64 codes', '256 x 256 x 3'):
    assert part in out
  golden = np.load(TOY.with_suffix('.npz'))
  indices = vq_jax.load(folder).encode(golden['image'] / 2 + 0.5)
  np.testing.assert_array_equal(indices, golden['indices'])
  code, out, _ = run(capsys, 'info', folder)
  assert code == 0 and 'one of 64 codes for each 2 x 2 pixels' in out
  Image.new('RGB', (8, 6)).save(tmp_path / 'in.png')
  code, _, _ = run(
    capsys, 'reconstruct', folder, tmp_path / 'in.png', '--out',
    tmp_path / 'out.png',
  )  # fmt: skip
  assert code == 0 and (tmp_path / 'out.png').exists()


def test_the_config_is_read(tmp_path, capsys):
  save(tmp_path / 'a.ckpt', {'state_dict': make_weights('taming-vqgan')})
  (tmp_path / 'a.yaml').write_text(yaml.safe_dump({'model': CONFIG}))
  code, out, _ = run(
    capsys, 'convert', 'taming-vqgan', tmp_path / 'a.ckpt', '--out',
    tmp_path / 'run', '--yaml', tmp_path / 'a.yaml',
  )  # fmt: skip
  assert code == 0 and '64 x 64 x 3' in out


def test_mistakes_are_one_line_errors(tmp_path, capsys):
  used, empty = tmp_path / 'used', tmp_path / 'empty'
  used.mkdir()
  empty.mkdir()
  (used / 'notes.txt').write_text('mine')
  for out, file, message in (
    (used, TOY, 'used exists already'),
    (used / 'notes.txt', TOY, 'notes.txt exists already'),
    (empty, used / 'notes.txt', 'notes.txt cannot be read as a PyTorch'),
    (empty, tmp_path / 'nowhere', 'No such file'),
  ):
    code, said, err = run(capsys, 'convert', 'vit-vqgan', file, '--out', out)
    assert code == 1 and message in err and err.count('\n') == 1 and not said
  assert not [*empty.iterdir()] and [*used.iterdir()] == [used / 'notes.txt']
  with pytest.raises(SystemExit):
    run(capsys, 'convert', 'vqgan', TOY, '--out', empty)
  assert 'taming-vqgan' in capsys.readouterr().err


def test_an_empty_folder_may_be_there(tmp_path, capsys):
  file = GOLDEN / 'maskgit_tokenizer_toy.msgpack'
  code, *_ = run(
    capsys, 'convert', 'maskgit-tokenizer', file, '--out', tmp_path
  )
  assert code == 0 and vq_jax.load(tmp_path).autoencoder.stride == 4


def test_two_files_become_a_run_of_a_prior(tmp_path, capsys):
  files = [
    part
    for name in ('tokenizer', 'transformer')
    for part in (f'--{name}', GOLDEN / f'maskgit_{name}_toy.msgpack')
  ]
  folder = tmp_path / 'run'
  code, out, _ = run(capsys, 'convert', 'maskgit', *files, '--out', folder)
  assert code == 0 and '64 codes, 10 classes' in out and '24 x 24 x 3' in out
  code, out, _ = run(capsys, 'info', folder)
  assert code == 0 and 'a prior, its autoencoder' in out
  code, _, err = run(
    capsys, 'convert', 'maskgit', *files[:2], '--out', tmp_path / 'other'
  )
  assert code == 1 and 'give tokenizer and transformer' in err
  assert not (tmp_path / 'other').exists()


def test_the_command_lists_every_kind():
  assert list(command._KINDS) == sorted(vq_jax.convert.KINDS)
