"""Trained and converted runs can be evaluated."""

import json

import pytest

from tests.convert.released import GOLDEN
from tests.train import tiny_configs
from train import evaluate
from train.logging import writers
from vq_jax import convert
from vq_jax.runs import export as export_lib


def run(capsys, *argv) -> tuple[int, str, str]:
  code = evaluate.main([str(arg) for arg in argv])
  captured = capsys.readouterr()
  return code, captured.out, captured.err


def test_an_evaluation_has_the_metrics_of_the_training(
  tokenizer, maskgit, tmp_path, capsys
):
  for folder in (tokenizer, maskgit):
    out = tmp_path / 'out'
    code, said, _ = run(capsys, folder, '--out', out)
    assert code == 0
    found = json.loads((out / 'metrics.json').read_text())
    logged = writers.last_evaluation(folder)
    assert found.keys() <= logged.keys() and len(found) > 1
    for name, value in found.items():
      assert value == pytest.approx(logged[name], rel=1e-4), name
      assert name in said
  files = {'reconstructions.png', 'samples.png', 'metrics.json'}
  assert {p.name for p in out.iterdir()} == files


def test_a_converted_prior_on_ones_own_images(tmp_path, capsys):
  released = convert.load(
    'maskgit',
    tokenizer=GOLDEN / 'maskgit_tokenizer_toy.msgpack',
    transformer=GOLDEN / 'maskgit_transformer_toy.msgpack',
  )
  folder = tmp_path / 'run'
  export_lib.export(released, folder)
  ten = tiny_configs.write_images(tmp_path, size=24, channels=3, classes=10)
  options = ('--source', ten, '--split', 'train[:20]', '--batch-size', 16)
  code, out, err = run(capsys, folder, *options)
  assert code == 0 and 'nll' in out, err
  code, out, _ = run(capsys, folder / 'autoencoder', *options)
  assert code == 0 and 'psnr' in out
  few = ('--source', ten, '--split', 'train[:7]', '--batch-size', 16)
  limited = run(capsys, folder / 'autoencoder', *options, '--limit', 7)
  assert limited == run(capsys, folder / 'autoencoder', *few)
  assert limited[1] != out
  three = tiny_configs.write_images(tmp_path, size=24, channels=3, classes=3)
  code, _, err = run(capsys, folder, *options)
  assert code == 1 and 'a prior of 10 classes' in err and three in err
  code, _, err = run(capsys, tmp_path / 'nowhere')
  assert code == 1 and 'nowhere' in err
