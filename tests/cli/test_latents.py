"""`vqjax mixture` and `vqjax interpolate`, with right and wrong arguments."""

import numpy as np
import pytest
from PIL import Image

from vq_jax.cli import main as cli


def run(capsys, *argv) -> tuple[int, str, str]:
  code = cli.main([str(arg) for arg in argv])
  captured = capsys.readouterr()
  return code, captured.out, captured.err


def test_mixture_samples_the_same_image_for_a_seed(vae_run, tmp_path, capsys):
  def write_image(seed):
    path = tmp_path / 'out.png'
    code, out, _ = run(
      capsys, 'mixture', vae_run, '--components', 3, '--num', 4, '--seed',
      seed, '--out', path,
    )  # fmt: skip
    assert code == 0 and '4 images' in out
    return np.asarray(Image.open(path))

  first = write_image(0)
  np.testing.assert_array_equal(first, write_image(0))
  assert (first != write_image(1)).any()


def test_generate_samples_from_a_vae(vae_run, tmp_path, capsys):
  path = tmp_path / 'out.png'
  code, _, _ = run(capsys, 'generate', vae_run, '--num', 4, '--out', path)
  assert code == 0 and Image.open(path).size == (22, 22)


def test_interpolate_writes_the_decoded_line(vae_run, tmp_path, capsys):
  rng = np.random.default_rng(0)
  for name in 'ab':
    pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f'{name}.png')
  out = tmp_path / 'line.png'
  code, _, _ = run(
    capsys, 'interpolate', vae_run, tmp_path / 'a.png', tmp_path / 'b.png',
    '--steps', 5, '--out', out,
  )  # fmt: skip
  assert code == 0 and Image.open(out).size == (5 * 10 + 2, 12)


def test_info_prints_the_latent_shape(vae_run, capsys):
  code, out, _ = run(capsys, 'info', vae_run)
  assert code == 0 and '3 numbers for an image' in out


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    (['mixture', '{tokenizer}'], 'run has a VQVAE'),
    (['mixture', '{vae}', '--components', '1000'], 'between 1 and 48'),
    (['mixture', '{vae}', '--num', '0'], 'num must be a whole number in'),
    (['mixture', '{vae}', '--data', 'npz:/no.npz'], '/no.npz'),
    (['interpolate', '{vae}', 'no.png', 'no.png'], 'no.png'),
    (['generate', '{vae}', '--labels', '1'], 'has no classes'),
  ],
)
def test_mistakes_get_one_clear_line(argv, message, vae_run, tokenizer, capsys):
  names = {'vae': vae_run, 'tokenizer': tokenizer}
  code, out, err = run(capsys, *(arg.format(**names) for arg in argv))
  assert code == 1 and out == ''
  assert message in err and err.startswith('error: ')
  assert err.count('\n') == 1
