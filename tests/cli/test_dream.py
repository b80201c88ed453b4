"""`vqjax dream`: files, resumption after a kill, and errors."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.guidance import toys
from vq_jax.cli import main as cli
from vq_jax.guidance import guides
from vq_jax.inference import codec
from vq_jax.utils import video

ARGUMENTS = ['--guide', 'classifier-text', '--prompt', 'a:2 | b:-1']
ARGUMENTS += ['--num-cutouts', '2', '--augmentations', 'flip']

# The command with a small guide instead of a pretrained one.
PROGRAM = """
import sys
from tests.guidance import toys
from vq_jax.cli import main
from vq_jax.guidance import guides
guides.load_guide = lambda name: toys.make_guide()
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def small_guide(monkeypatch):
  monkeypatch.setattr(guides, 'load_guide', lambda name: toys.make_guide())


def dream(run, out, *more):
  arguments = ['dream', str(run), *ARGUMENTS, '--out', str(out)]
  return cli.main([*arguments, *map(str, more)])


def frames(out):
  # The temporary file of a frame that is being written does not end in .png.
  folder = pathlib.Path(out).with_suffix('.run') / 'frames'
  return {path.name: path.read_bytes() for path in sorted(folder.glob('*.png'))}


def test_it_writes_image_film_and_settings(tokenizer, tmp_path, capsys):
  out, film = tmp_path / 'a.png', tmp_path / 'film.gif'
  options = ('--steps', 5, '--save-every', 2, '--num', 2, '--size', '8x12')
  assert dream(tokenizer, out, *options, '--video', film) == 0
  printed = capsys.readouterr().out
  assert "'a', weight 2" in printed and "'b', weight -1" in printed
  assert list(frames(out)) == [f'{step:08}.png' for step in (0, 2, 4, 5)]
  assert out.read_bytes() == frames(out)['00000005.png']
  assert Image.open(out).size == (2 * 14 + 2, 8 + 4)
  assert Image.open(film).n_frames == 4
  settings = json.loads(Image.open(out).text['Comment'])
  assert settings['prompt'] == 'a:2 | b:-1' and settings['seed'] == 0
  assert settings['num_cutouts'] == 2 and settings['learning_rate'] == 0.1
  # A finished run is replaced, and gives the same.
  before = frames(out)
  assert dream(tokenizer, out, *options) == 0
  assert frames(out) == before


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bit(tokenizer, tmp_path):
  options = ('--steps', 40, '--save-every', 1)
  assert dream(tokenizer, tmp_path / 'whole.png', *options) == 0
  out = tmp_path / 'killed.png'
  command = [sys.executable, '-c', PROGRAM, 'dream', tokenizer, *ARGUMENTS]
  command += ['--out', str(out), *map(str, options)]
  process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
  state = out.with_suffix('.run') / 'state.msgpack'
  until = time.monotonic() + 120
  while not (state.is_file() and len(frames(out)) > 4):
    assert process.poll() is None and time.monotonic() < until
    time.sleep(0.01)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert len(frames(out)) < 41
  assert dream(tokenizer, out, *options) == 1  # without --resume
  assert dream(tokenizer, out, *options, '--resume') == 0
  assert frames(out).keys() == frames(tmp_path / 'whole.png').keys()
  for name in ('00000010.png', '00000040.png'):
    one, other = (
      codec.decode_image(path.with_suffix('.run') / 'frames' / name, 1)
      for path in (out, tmp_path / 'whole.png')
    )
    np.testing.assert_array_equal(one, other)


def test_ctrl_c_keeps_what_there_is_and_more_steps_go_on(
  tokenizer, tmp_path, monkeypatch
):
  assert dream(tokenizer, tmp_path / 'a.png', '--steps', 6) == 0
  from vq_jax.inference import dream as dream_lib

  advance, taken = dream_lib.Dream.advance, []

  def stop(self, state, step):
    taken.append(step)
    if len(taken) == 4:
      raise KeyboardInterrupt
    return advance(self, state, step)

  with monkeypatch.context() as patched:
    patched.setattr(dream_lib.Dream, 'advance', stop)
    assert dream(tokenizer, tmp_path / 'b.png', '--steps', 6) == 130
  assert '00000003.png' in frames(tmp_path / 'b.png')
  assert dream(tokenizer, tmp_path / 'b.png', '--steps', 6, '--resume') == 0
  assert (tmp_path / 'a.png').read_bytes() == (tmp_path / 'b.png').read_bytes()
  assert frames(tmp_path / 'a.png') == frames(tmp_path / 'b.png')
  # A finished run of 3 steps is continued to 6.
  assert dream(tokenizer, tmp_path / 'c.png', '--steps', 3) == 0
  assert dream(tokenizer, tmp_path / 'c.png', '--steps', 6, '--resume') == 0
  assert (tmp_path / 'a.png').read_bytes() == (tmp_path / 'c.png').read_bytes()


def test_resuming_with_other_settings_is_refused(tokenizer, tmp_path, capsys):
  out = tmp_path / 'a.png'
  assert dream(tokenizer, out, '--steps', 2) == 0
  assert dream(tokenizer, out, '--steps', 4, '--resume', '--seed', 1) == 1
  assert 'seed: 0 there, 1 here' in capsys.readouterr().err
  state = out.with_suffix('.run') / 'state.msgpack'
  state.write_bytes(state.read_bytes()[:100])
  assert dream(tokenizer, out, '--steps', 4, '--resume') == 1
  error = capsys.readouterr().err
  assert error.count('\n') == 1 and 'Remove' in error


def test_frames_of_a_film_get_the_style_of_a_text(tokenizer, tmp_path):
  folder = tmp_path / 'frames'
  folder.mkdir()
  rng = np.random.default_rng(0)
  for i in range(3):
    pixels = rng.integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f'{i}.png')
  options = ('--steps', 2, '--frames', folder)
  assert dream(tokenizer, tmp_path / 'a.png', *options) == 0
  whole = frames(tmp_path / 'a.png')
  assert len(whole) == 3 and len(set(whole.values())) == 3
  # The last frame alone is made again, from the same frame before.
  (tmp_path / 'a.run' / 'frames' / '00000002.png').unlink()
  assert dream(tokenizer, tmp_path / 'a.png', *options, '--resume') == 0
  assert frames(tmp_path / 'a.png') == whole
  assert dream(tokenizer, tmp_path / 'b.png', *options, '--frame-mix', 0) == 0
  other = frames(tmp_path / 'b.png')
  assert other['00000000.png'] != other['00000001.png']
  assert (
    codec.decode_image(
      tmp_path / 'b.run' / 'frames' / '00000001.png', 1
    ).tolist()
    != codec.decode_image(
      tmp_path / 'a.run' / 'frames' / '00000001.png', 1
    ).tolist()
  )


@pytest.mark.parametrize('init', ['noise', 'tokens', 'file', 'prior'])
def test_first_images(init, tokenizer, maskgit, tmp_path):
  path = init
  if init == 'file':
    path = tmp_path / 'photo.jpg'
    Image.new('RGB', (50, 40), (10, 200, 30)).save(path)
  run = maskgit if init == 'prior' else tokenizer
  assert dream(run, tmp_path / 'a.png', '--steps', 1, '--init', path) == 0


@pytest.mark.parametrize(
  'more, message',
  [
    (['--prompt', ''], 'say what the images should show'),
    (['--prompt', 'a:2e7'], 'weight must be'),
    (['--size', '9x8'], 'multiples of 2'),
    (['--size', 'big'], '--size must be HEIGHTxWIDTH'),
    (['--num', '0'], '--num'),
    (['--steps', '0'], 'steps must be'),
    (['--cutouts', 'none'], 'cutouts must be'),
    (['--optimizer', 'x'], 'optimizer must be'),
    (['--init', 'missing.png'], 'missing.png'),
    (['--init', 'prior'], 'without a prior'),
    (['--image-prompt', 'missing.png:2'], 'there is no image missing.png'),
    (['--video', 'a.avi'], 'suffix must be one of'),
    (['--out', 'a.txt'], 'suffix'),
    (['--fps', '0'], '--fps must be'),
    (['--fps', '0.001'], '--fps must be'),
    (['--save-every', '0'], '--save-every must be'),
    (['--frames', 'missing'], '--frames needs a folder'),
    (['--move-zoom', '0'], 'zoom must be'),
  ],
)
def test_mistakes_get_one_line(
  more, message, tokenizer, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  arguments = ['dream', tokenizer, *ARGUMENTS, '--steps', '1', *more]
  assert cli.main(arguments) == 1
  error = capsys.readouterr().err
  assert error.startswith('error: ') and error.count('\n') == 1
  assert message in error
  assert not list(tmp_path.glob('*.run/frames/*'))


MISTAKES = (['--init', 'missing.png'], ['--size', '9x8'])


@pytest.mark.parametrize('more', MISTAKES)
def test_a_mistake_costs_no_finished_run(more, tokenizer, tmp_path):
  out = tmp_path / 'a.png'
  assert dream(tokenizer, out, '--steps', 1) == 0
  before = frames(out)
  assert dream(tokenizer, out, '--steps', 1, *more) == 1
  assert frames(out) == before
  assert dream(tokenizer, out, '--steps', 1) == 0


def test_a_guide_is_needed(tokenizer, capsys):
  assert cli.main(['dream', tokenizer, '--prompt', 'a']) == 1
  assert '--clip FILE' in capsys.readouterr().err


def test_a_folder_of_something_else_is_kept(tokenizer, tmp_path, capsys):
  (tmp_path / 'a.run').mkdir()
  (tmp_path / 'a.run' / 'thesis.tex').write_text('')
  assert dream(tokenizer, tmp_path / 'a.png', '--steps', 1) == 1
  assert 'no folder of a recording' in capsys.readouterr().err
  assert (tmp_path / 'a.run' / 'thesis.tex').exists()


def test_videos_hold_their_frames(tmp_path):
  ffmpeg = pytest.importorskip('imageio_ffmpeg')
  made = [np.full((15, 21, 1), 60 * i, np.uint8) for i in range(4)]
  video.write(tmp_path / 'a.mp4', made, fps=10)
  reader = ffmpeg.read_frames(str(tmp_path / 'a.mp4'))
  facts = next(reader)
  assert facts['size'] == (22, 16) and facts['fps'] == 10
  found = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
  np.testing.assert_allclose(found, [0, 60, 120, 180], atol=4)
  assert not list(tmp_path.glob('.*'))
