"""`vqjax edit` and `vqjax outpaint`, with right and wrong arguments."""

import dataclasses
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import vq_jax
from vq_jax.cli import edit
from vq_jax.cli import main as cli


def run(capsys, *argv) -> tuple[int, str, str]:
  code = cli.main([str(arg) for arg in argv])
  captured = capsys.readouterr()
  return code, captured.out, captured.err


@pytest.fixture
def grey():
  rng = np.random.default_rng(0)
  return rng.integers(0, 120, (8, 8), dtype=np.uint8)


@pytest.fixture
def image_path(grey, tmp_path):
  """The path of a grey image, stored as RGB."""
  Image.fromarray(grey).convert('RGB').save(tmp_path / 'image.png')
  return tmp_path / 'image.png'


def test_edit_changes_a_box_and_nothing_else(
  maskgit, image_path, grey, tmp_path, capsys
):
  def write_image(*more):
    argv = [
      'edit', maskgit, image_path, '--box', '2,4,5,3', '--label', '1', '--out',
      tmp_path / 'out.png', *more,
    ]  # fmt: skip
    code, out, _ = run(capsys, *argv)
    assert code == 0 and out == f'1 image in {tmp_path / "out.png"}\n'
    with Image.open(tmp_path / 'out.png') as opened:
      opened.load()
      command = shlex.join(['vqjax', *map(str, argv)])
      assert opened.info == {'Comment': command}
      return np.asarray(opened)

  first = write_image()
  outside = np.ones((8, 8), bool)
  outside[2:7, 4:7] = False
  np.testing.assert_array_equal(first[outside], grey[outside])
  assert (first[~outside] != grey[~outside]).any()
  np.testing.assert_array_equal(first, write_image('--batch-size', '3'))
  for option in ('--seed 1', '--temperature 0', '--dilate 0'):
    assert (first != write_image(*option.split())).any(), option
  one, two = (write_image('--guidance', '1e5', '--label', x) for x in '01')
  assert (one != two).any()


@pytest.mark.parametrize('kind', ['white', 'transparent'])
def test_only_masked_pixels_are_sampled_anew(
  kind, maskgit, image_path, grey, tmp_path, capsys
):
  """Several versions follow the original, with grey for the mask."""
  mask = np.zeros((8, 8), np.uint8)
  mask[:5, :2] = 255
  if kind == 'transparent':
    black = np.zeros((8, 8, 3), np.uint8)
    Image.fromarray(np.dstack([black, 255 - mask])).save(tmp_path / 'mask.png')
  else:
    Image.fromarray(mask).save(tmp_path / 'mask.png')
  code, out, _ = run(
    capsys, 'edit', maskgit, image_path, '--mask', tmp_path / 'mask.png',
    '--num', 3, '--out', tmp_path / 'out.png', '--gif', tmp_path / 'out.gif',
  )  # fmt: skip
  assert code == 0 and '3 steps in' in out and '3 images in' in out
  whole = np.asarray(Image.open(tmp_path / 'out.png'))
  assert whole.shape == (22, 22)  # 2 x 2 images
  tiles = [whole[i : i + 8, j : j + 8] for i in (2, 12) for j in (2, 12)]
  for tile in tiles:
    np.testing.assert_array_equal(tile[mask == 0], grey[mask == 0])
  assert (tiles[0][mask > 0] == 128).all()
  assert len({tile.tobytes() for tile in tiles}) == 4
  gif = Image.open(tmp_path / 'out.gif')
  assert gif.n_frames == 3 and gif.size == (22, 22)


def test_outpaint_extends_an_image(maskgit, image_path, grey, tmp_path, capsys):
  argv = [
    'outpaint', maskgit, image_path, '--right', 8, '--top', 3, '--label', 0,
    '--out', tmp_path / 'out.png',
  ]  # fmt: skip
  assert run(capsys, *argv)[0] == 0
  write_image = np.asarray(Image.open(tmp_path / 'out.png'))
  assert write_image.shape == (11, 16)
  np.testing.assert_array_equal(write_image[3:, :8], grey)
  assert run(capsys, *argv, '--num', 2)[0] == 0
  both = np.asarray(Image.open(tmp_path / 'out.png'))
  original = both[2:13, 2:18]
  np.testing.assert_array_equal(original[3:, :8], grey)
  assert (original[:3] == 128).all() and (original[:, 8:] == 128).all()
  np.testing.assert_array_equal(both[2:13, 20:36], write_image)


BOX = ['--box', '2,2,4,4']


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    (['edit', '{run}', 'no.png', *BOX], 'no.png cannot be read as an image'),
    (['edit', '{run}', '{image_path}', '--mask', 'no.png'], 'no.png cannot be'),
    (['edit', 'nowhere', '{image_path}', *BOX], 'no such run folder: nowhere'),
    (
      ['edit', '{alone}', '{image_path}', *BOX],
      'an autoencoder without a prior',
    ),
    (['edit', '{run}', '{image_path}'], 'give either --mask or --box'),
    (
      ['edit', '{run}', '{image_path}', *BOX, '--mask', '{image_path}'],
      'give either --mask or --box',
    ),
    (['edit', '{run}', '{image_path}', '--box', '1,2,3'], 'four whole numbers'),
    (
      ['edit', '{run}', '{image_path}', '--box', '1,2,3,x'],
      'four whole numbers',
    ),
    (
      ['edit', '{run}', '{image_path}', '--box', '4,4,5,2'],
      'within the image, 8 x 8 pixels; got 5 x 2 from row 4, column 4',
    ),
    (['edit', '{run}', '{image_path}', '--box=-1,4,5,2'], 'within the image'),
    (['edit', '{run}', '{image_path}', '--box', '0,0,0,2'], 'within the image'),
    (
      ['edit', '{run}', '{image_path}', '--mask', '{small}'],
      'must have the size of the image, 8 x 8 pixels; got 4 x 6',
    ),
    (
      ['edit', '{run}', '{image_path}', *BOX, '--label', 'cat'],
      "no class 'cat'",
    ),
    (
      ['edit', '{run}', '{image_path}', *BOX, '--num', '0'],
      'num must be a whole number in',
    ),
    (
      ['edit', '{run}', '{image_path}', *BOX, '--dilate', '-1'],
      'dilate must be a whole number in',
    ),
    (
      ['edit', '{run}', '{image_path}', *BOX, '--steps', '0'],
      'steps must be a whole number in',
    ),
    (['outpaint', '{run}', '{image_path}'], 'not all 0'),
    (
      ['outpaint', '{run}', '{image_path}', '--left', '-2'],
      'left must be a whole',
    ),
  ],
)
def test_mistakes_get_one_clear_line(
  argv, message, maskgit, tokenizer, image_path, tmp_path, capsys
):
  small = tmp_path / 'small.png'
  Image.fromarray(np.zeros((4, 6), np.uint8)).save(small)
  names = {
    'run': maskgit, 'alone': tokenizer, 'image_path': image_path,
    'small': small,
  }  # fmt: skip
  code, out, err = run(capsys, *(arg.format(**names) for arg in argv))
  assert code == 1 and out == ''
  assert message in err and err.startswith('error: ')
  assert err.count('\n') == 1


def test_a_label_needs_a_prior_with_classes(maskgit, image_path, capsys):
  model = vq_jax.load(maskgit)
  vocab = dataclasses.replace(model.vocab, num_classes=0, null_class=False)
  plain = dataclasses.replace(model, prior=model.prior.clone(vocab=vocab))
  arguments = cli.parser().parse_args(
    ['edit', maskgit, str(image_path), '--label', '1']
  )
  with pytest.raises(ValueError, match='leave --label out'):
    edit._find_label(arguments, plain)


HELP = """
import sys
from vq_jax.cli import edit, main
try:
  main.main(['edit', '--help'])
except SystemExit:
  pass
heavy = {'PIL', 'orbax', 'grain', 'tqdm'} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_imports_nothing_heavy():
  done = subprocess.run(
    [sys.executable, '-c', HELP], capture_output=True, text=True, check=True
  )
  assert '--mask FILE' in done.stdout and '--steps' in done.stdout
