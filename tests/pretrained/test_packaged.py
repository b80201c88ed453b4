"""The packaged model is small, complete and described."""

import json

import vq_jax
from tests.benchmarks import evaluate_samples
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
  tmp_path, capsys
):
  found = []
  for steps in ('1', '2'):
    arguments = f'fashion --workdir {tmp_path} --num 20 --epochs 1'.split()
    assert not evaluate_samples.main([*arguments, '--steps', steps])
    found.append(json.loads(capsys.readouterr().out))
  assert found[0]['generated'] == 20
  assert found[0]['frechet_distance'] != found[1]['frechet_distance']
  assert found[0]['frechet_distance_real'] == found[1]['frechet_distance_real']
