"""The packaged model is small, complete and described."""

import dataclasses
import json

import vq_jax
from tests.benchmarks import evaluate_samples
from train import quickstart
from vq_jax import pretrained


def test_the_packaged_model():
  folder = pretrained.find_packaged('fashion')
  files = [path for path in folder.rglob('*') if path.is_file()]
  assert sum(path.stat().st_size for path in files) < 8e6
  card = (folder / 'README.md').read_text()
  assert 'license: mit' in card
  model = vq_jax.load('fashion')  # compares the checksums
  assert model.info.class_names[5] == 'Sandal'
  assert model.generate(0, labels=[5]).shape == (1, 28, 28, 1)
  assert vq_jax.load('fashion/autoencoder').prior is None


def test_the_command_of_its_figures_takes_all_sampling_options(
  tmp_path, monkeypatch, capsys
):
  def evaluate(model, workdir, *, generated, epochs, seed, sampler):
    expected = dataclasses.replace(model.info.sampler, steps=2, guidance=0.5)
    assert list(sampler) == [expected]
    return {'numbers': [generated, epochs, seed]}

  monkeypatch.setattr(quickstart, 'evaluate', evaluate)
  arguments = '--num 20 --epochs 1 --seed 3 --steps 2 --guidance 0.5'.split()
  workdir = str(tmp_path / 'new')
  assert not evaluate_samples.main(
    ['fashion', '--workdir', workdir, *arguments]
  )
  assert json.loads(capsys.readouterr().out) == {'numbers': [20, 1, 3]}
