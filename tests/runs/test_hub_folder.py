"""Exports load to the bit, and a damaged one is refused."""

import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

import vq_jax
from vq_jax.cli import main
from vq_jax.runs import hub_folder
from vq_jax.runs import layout
from vq_jax.runs import measurements
from vq_jax.runs import model_card
from vq_jax.utils import safetensors


@pytest.fixture(scope='module')
def exports(maskgit, tmp_path_factory):
  """Format -> an export of the same run."""
  folder = tmp_path_factory.mktemp('exports')
  for name in ('orbax', 'safetensors'):
    hub_folder.export_run(maskgit, folder / name, format=name, licence='mit')
  return folder


def leaves(model):
  return jax.tree.leaves(model.variables)


@pytest.mark.parametrize('name', ['orbax', 'safetensors'])
def test_an_export_loads_to_the_bit(name, exports, maskgit):
  ours, exported = vq_jax.load(maskgit), vq_jax.load(exports / name)
  assert exported.prior == ours.prior
  assert exported.autoencoder == ours.autoencoder
  for x, y in zip(leaves(ours), leaves(exported), strict=True):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)
  np.testing.assert_array_equal(
    ours.generate(0, num=2), exported.generate(0, num=2)
  )


@pytest.mark.parametrize('name', ['orbax', 'safetensors'])
def test_a_flipped_bit_of_any_file_is_refused(name, exports, tmp_path, capsys):
  copy = shutil.copytree(exports / name, tmp_path / 'copy')
  files = [p for p in copy.rglob('*') if p.is_file() and p.stat().st_size]
  rng = np.random.default_rng(0)
  for path in files:
    if path.name == model_card.NAME:  # may be edited
      continue
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(damaged)
    with pytest.raises(layout.RunError, match='is damaged'):
      vq_jax.load(copy)
    path.write_bytes(content)
  (copy / 'autoencoder' / 'config.json').unlink()
  assert main.main(['info', str(copy)]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'error: {copy} is damaged: the file ')


def test_bfloat16_is_stored_and_loaded_in_the_dtype_of_the_model(
  maskgit, tmp_path
):
  hub_folder.export_run(
    maskgit, tmp_path / 'half', dtype='bfloat16', format='safetensors'
  )
  stored, _ = safetensors.read(tmp_path / 'half' / 'model.safetensors')
  assert {x.dtype for x in stored.values()} == {jnp.dtype(jnp.bfloat16)}
  ours, half = vq_jax.load(maskgit), vq_jax.load(tmp_path / 'half')
  for x, y in zip(
    *(jax.tree.leaves(m.variables['prior']['params']) for m in (ours, half)),
    strict=True,
  ):
    rounded = x.astype(jnp.bfloat16).astype(x.dtype)
    np.testing.assert_array_equal(y, rounded)


def test_a_parameter_beyond_float16_is_refused():
  params = {'kernel': np.float32([1, 1e5])}
  with pytest.raises(ValueError, match='beyond the range of float16'):
    hub_folder._cast(params, np.dtype('float16'))


def test_the_card_and_the_config_of_an_export(exports, maskgit):
  folder = exports / 'orbax'
  card = (folder / 'README.md').read_text()
  fields = yaml.safe_load(card.split('---')[1])
  assert fields['license'] == 'mit'
  assert fields['library_name'] == 'vq_jax'
  model = vq_jax.load(maskgit)
  assert f'| total steps | {model.config["train"]["total_steps"]} |' in card
  value = read_metric(maskgit, 'eval', 'masked_nll')
  assert f'| eval masked nll | {value} |' in card
  config = (folder / 'config.json').read_text()
  assert json.loads(config)['config']['autoencoder'] == 'autoencoder'
  assert '"/' not in config and ':/' not in config  # no local path


def test_a_folder_in_use_is_refused(exports, maskgit, capsys):
  arguments = ['export', maskgit, '--out', str(exports)]
  assert main.main(arguments) == 1
  assert 'exists already' in capsys.readouterr().err


def read_metric(folder, kind, name):
  """Returns the last value of a metric as the card of a model writes it."""
  lines = (pathlib.Path(folder) / layout.METRICS).read_text().splitlines()
  rows = [row for row in map(json.loads, lines) if row['kind'] == kind]
  return f'{rows[-1][name]:.5g}'


def test_the_card_describes_the_training_of_the_tokenizer(
  exports, maskgit, tokenizer
):
  card = (exports / 'orbax' / 'README.md').read_text()
  prior, autoencoder = card.split('## Training of the autoencoder')
  assert '| task | maskgit |' in prior
  assert '| task | autoencoder |' in autoencoder
  assert '| total steps | 8 |' in autoencoder
  value = read_metric(tokenizer, 'eval', 'psnr')
  assert f'| eval psnr | {value} |' in autoencoder
  assert 'eval psnr' not in prior
  # It is known of the copies alone, and of an export of an export.
  copy = pathlib.Path(maskgit, 'autoencoder')
  assert not (copy / layout.METRICS).exists()
  copied, trained = map(measurements.read, (copy, pathlib.Path(tokenizer)))
  assert copied['metrics'] == trained['metrics']
  hub_folder.export_run(exports / 'orbax', exports / 'again', licence='mit')
  again = (exports / 'again' / 'README.md').read_text()
  assert again == card.replace('orbax', 'again')


def test_the_card_quotes_the_evaluations_of_the_run(maskgit, tmp_path):
  result = {
    'kind': 'generation',
    'metric': 'fid',
    'value': 1.25,
    'floor': 0.5,
    'samples': 100,
    'features': {'name': 'classifier'},
    'reference': {'name': 'folder:/home/me/images'},
  }
  run = shutil.copytree(maskgit, tmp_path / 'run')
  for folder in (run, run / 'autoencoder'):
    (folder / 'evaluation').mkdir(exist_ok=True)
    path = folder / 'evaluation' / 'generation.json'
    path.write_text(json.dumps({'results': [result]}))
    result |= {'metric': 'psnr', 'floor': None, 'reference': None}
  with (run / layout.METRICS).open('a') as file:
    file.write('{"step": 4, "kind": "ev')  # killed
  hub_folder.export_run(run, tmp_path / 'export')
  card = (tmp_path / 'export' / 'README.md').read_text()
  row = '| generation: fid | 1.25 | 0.5 | 100 | classifier; folder:images |'
  assert row in card
  _, tokenizer = card.split('## Evaluation of the autoencoder')
  assert '| generation: psnr | 1.25 |  | 100 | classifier |' in tokenizer
  assert 'license: unknown' in card
  assert str(tmp_path) not in card
