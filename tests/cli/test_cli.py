"""The `vqjax` commands, with right and wrong arguments."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from train import main as train_main
from vq_jax.cli import main as cli


@pytest.fixture
def runs(tokenizer, maskgit):
  return {'tokenizer': tokenizer, 'maskgit': maskgit}


def run(capsys, *argv) -> tuple[int, str, str]:
  code = cli.main([str(arg) for arg in argv])
  captured = capsys.readouterr()
  return code, captured.out, captured.err


def test_generate_writes_the_same_image_for_a_seed(runs, tmp_path, capsys):
  def write_image(seed, *more):
    path = tmp_path / 'samples.png'
    code, out, _ = run(
      capsys, 'generate', runs['maskgit'], '--labels', '0,2', '--num', 6,
      '--seed', seed, '--out', path, *more,
    )  # fmt: skip
    assert code == 0 and '6 images' in out
    opened = Image.open(path)
    assert opened.info['Comment'].startswith('vqjax generate ')
    return np.asarray(opened)

  first = write_image(0)
  np.testing.assert_array_equal(first, write_image(0))
  assert (first != write_image(1)).any()
  for option in ('--steps 1', '--guidance 100000', '--temperature 0'):
    assert (first != write_image(0, *option.split())).any(), option
  write_image(0, '--choice-temperature', '50')


def test_generate_writes_a_trace(runs, tmp_path, capsys):
  argv = [
    'generate', runs['maskgit'], '--num', 4, '--out', tmp_path / 'a.png',
  ]  # fmt: skip
  code, out, _ = run(capsys, *argv, '--gif', tmp_path / 'a.gif')
  assert code == 0 and '3 steps in' in out
  gif = Image.open(tmp_path / 'a.gif')
  assert gif.n_frames == 3
  assert gif.size == Image.open(tmp_path / 'a.png').size
  whole = np.asarray(Image.open(tmp_path / 'a.png'))
  run(capsys, *argv, '--batch-size', 3)
  np.testing.assert_array_equal(whole, Image.open(tmp_path / 'a.png'))


def test_generate_keeps_the_samples_with_the_highest_classifier_scores(
  runs, tmp_path, capsys
):
  """The best of many candidates differs from the first."""

  def write_image(*more):
    path = tmp_path / 'kept.png'
    code, _, _ = run(
      capsys, 'generate', runs['maskgit'], '--labels', '1', '--num', 2,
      '--out', path, *more,
    )  # fmt: skip
    assert code == 0
    return np.asarray(Image.open(path))

  np.testing.assert_array_equal(
    write_image(), write_image('--acceptance-rate', '1')
  )
  assert (write_image() != write_image('--acceptance-rate', '0.1')).any()
  folder = pathlib.Path(runs['maskgit']) / 'classifier'
  assert len(list(folder.glob('*.npz'))) == 1


def test_reconstruct_puts_originals_above(runs, tmp_path, capsys):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (9, 8), dtype=np.uint8)
  Image.fromarray(pixels).save(tmp_path / 'grey.png')
  colour = np.repeat(pixels[..., None], 3, axis=-1)
  Image.fromarray(colour).resize((12, 16)).save(tmp_path / 'colour.jpg')
  code, _, _ = run(
    capsys, 'reconstruct', runs['tokenizer'], tmp_path / 'grey.png',
    tmp_path / 'colour.jpg', '--out', tmp_path / 'out.png',
  )  # fmt: skip
  assert code == 0
  result = Image.open(tmp_path / 'out.png')
  assert result.info['Comment'].startswith('vqjax reconstruct ')
  result = np.asarray(result)
  np.testing.assert_array_equal(result[2:10, 2:10], pixels[:8])


def test_info_prints_the_facts_about_a_run(runs, capsys):
  code, out, _ = run(capsys, 'info', runs['maskgit'])
  assert code == 0
  for part in (
    'a prior',
    'step 8',
    '8 x 8 x 1',
    'one of 16 codes for each 2 x 2 pixels',
    'prior ',
  ):
    assert part in out


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    (['generate', 'nowhere'], 'no such run folder: nowhere'),
    (
      ['generate', '{tokenizer}/samples'],
      'is not a run folder: it has no config.json',
    ),
    (['generate', '{tokenizer}'], 'an autoencoder without a prior'),
    (['generate', '{maskgit}', '--labels', '7'], 'got 7. Classes: 0'),
    (['generate', '{maskgit}', '--labels', 'cat'], "no class 'cat'"),
    (['generate', '{maskgit}', '--num', '0'], 'num must be a whole number in'),
    (
      ['generate', '{maskgit}', '--steps', '0'],
      'steps must be a whole number in',
    ),
    (['generate', '{maskgit}', '--batch-size', '0'], 'batch_size must be'),
    (
      ['generate', '{maskgit}', '--temperature', '-1'],
      'temperature must be a finite number in',
    ),
    (['generate', '{maskgit}', '--order', 'spiral'], "unknown order 'spiral'"),
    (
      ['generate', '{maskgit}', '--order', 'critic'],
      'scores of a token critic',
    ),
    (['generate', '{maskgit}', '--order', 'up'], "unknown order 'up'"),
    (
      ['generate', '{maskgit}', '--acceptance-rate', '0'],
      'acceptance_rate must be a finite number in',
    ),
    (
      ['generate', '{maskgit}', '--acceptance-rate', '0.5', '--gif', 'x.gif'],
      'goes without --gif',
    ),
    (['reconstruct', '{tokenizer}', 'no.png'], 'no.png'),
  ],
)
def test_mistakes_get_one_clear_line(argv, message, runs, capsys):
  code, out, err = run(capsys, *(arg.format(**runs) for arg in argv))
  assert code == 1 and out == ''
  assert message in err and err.startswith('error: ')
  assert err.count('\n') == 1


@pytest.mark.parametrize('main', [cli.main, train_main.main])
@pytest.mark.parametrize('argv', [['--help'], []])
def test_help_and_usage(main, argv, capsys):
  with pytest.raises(SystemExit) as exit_info:
    main(argv)
  assert exit_info.value.code == (0 if argv else 2)
  captured = capsys.readouterr()
  assert 'usage:' in captured.out + captured.err


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    (['--config', 'configs/nope.py'], 'no config file configs/nope.py'),
    (
      ['--config', 'configs/quickstart_tokenizer.py', '--config.optim.lr=1'],
      "unknown key of config.optim 'lr'",
    ),
    (
      [
        '--config',
        'configs/quickstart_tokenizer.py:smoke',
        '--config.data.source=folder:/nowhere',
      ],
      '/nowhere',
    ),
    (
      [
        '--config',
        'configs/quickstart_maskgit.py:smoke',
        '--config.autoencoder=/nowhere',
      ],
      'no such run folder: /nowhere',
    ),
  ],
)
def test_training_mistakes_get_one_clear_line(argv, message, tmp_path, capsys):
  assert train_main.main([*argv, '--workdir', str(tmp_path / 'run')]) == 1
  err = capsys.readouterr().err
  lines = [line for line in err.splitlines() if line.startswith('error: ')]
  assert len(lines) == 1 and message in lines[0]


def test_a_warning_is_one_line():
  program = (
    'import warnings; from train import errors; errors.run_with_error_messages('
    'lambda: warnings.warn("one image is broken"))'
  )
  done = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  )
  assert done.stderr == 'warning: one image is broken\n'


def test_unknown_arguments_are_refused(capsys):
  with pytest.raises(SystemExit):
    train_main.main(['--config', 'x', '--workdir', 'y', '--steps=3'])
  assert '--config.section.key=value' in capsys.readouterr().err
