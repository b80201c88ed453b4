"""The quickstart with a few training steps."""

import json

import numpy as np
import pytest
from PIL import Image

import vq_jax
from train import quickstart


@pytest.mark.slow
def test_the_quickstart_trains_samples_and_evaluates(tmp_path, capsys):
  workdir = tmp_path / 'quickstart'
  assert quickstart.main(['--smoke', '--workdir', str(workdir)]) == 0
  summary = json.loads((workdir / 'summary.json').read_text())
  assert {
    'psnr',
    'codebook_usage',
    'class_agreement',
    'class_agreement_reconstructions',
    'class_agreement_real',
    'frechet_distance',
    'frechet_distance_reconstructions',
    'frechet_distance_real',
    'seconds',
  } <= summary.keys()
  assert all(np.isfinite(value) for value in summary.values())
  # One epoch of the classifier is enough for real images; samples are noise.
  assert summary['class_agreement_real'] > 0.5
  assert summary['frechet_distance_real'] < summary['frechet_distance']
  grid = np.asarray(Image.open(workdir / 'samples.png'))
  assert grid.std() > 10
  assert vq_jax.load(workdir / 'maskgit').generate(0, num=2).shape[0] == 2
  out = capsys.readouterr().out
  assert 'class agreement' in out and 'vqjax generate' in out

  # The same command finds everything done.
  assert quickstart.main(['--smoke', '--workdir', str(workdir)]) == 0
  again = json.loads((workdir / 'summary.json').read_text())
  assert {**again, 'seconds': 0} == {**summary, 'seconds': 0}
