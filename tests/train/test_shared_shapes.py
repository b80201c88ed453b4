"""Image shapes and codebooks are compared before the first step."""

import numpy as np
import pytest
from PIL import Image

from tests.train import tiny_configs
from train import datasets as datasets_lib
from train import evaluate
from train import loop
from train import sharding
from train.tasks import checks
from vq_jax import losses
from vq_jax import metrics
from vq_jax.config import schema


def refused(config, folder, message):
  with pytest.raises(schema.ConfigError, match=message):
    loop.train(config, folder)
  assert not (folder / 'config.json').exists()


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (
      tiny_configs.autoencoder,
      r'gives images \(8, 8, 1\).* makes images \(8, 8, 3',
    ),
    (
      tiny_configs.vae,
      r'does not fit images \(8, 8, 1\) .* got \(1, 8, 8, 3\)',
    ),
  ],
)
def test_the_decoder_s_channels_are_those_of_the_data(make, message, tmp_path):
  config = make(tiny_configs.write_images(tmp_path, channels=1))
  config['model']['decoder'] = {**config['model']['decoder'], 'out_channels': 3}
  refused(config, tmp_path / 'run', message)


def test_both_preprocessings_make_images_of_one_shape(tmp_path):
  config = tiny_configs.autoencoder(
    tiny_configs.write_images(tmp_path, size=12)
  )
  config['data'] |= {
    'train_preprocess': [{'type': 'random_crop', 'size': 8}],
    'eval_preprocess': [{'type': 'center_crop', 'size': 12}],
  }
  refused(config, tmp_path / 'run', r'\(8, 8, 1\), and .* \(12, 12, 1\); they')


def test_both_splits_have_the_same_classes(tmp_path):
  for split, classes in {'train': 'ab', 'test': 'ac'}.items():
    for name in classes:
      folder = tmp_path / 'images' / split / name
      folder.mkdir(parents=True)
      for i in range(8):
        Image.new('L', (8, 8), 20 * i).save(folder / f'{i}.png')
  config = tiny_configs.autoencoder(f'folder:{tmp_path / "images"}')
  config['data'] |= {'eval_split': 'test', 'batch_size': 8, 'channels': 1}
  runner = sharding.make_runner(schema.ParallelConfig())
  with pytest.raises(ValueError, match='must be among those of the training'):
    datasets_lib.open_datasets(schema.DataConfig(**config['data']), runner)


@pytest.mark.filterwarnings('ignore::vq_jax.data.UnreadableImageWarning')
def test_shapes_are_compared_though_the_first_image_is_damaged(tmp_path):
  for i in range(1, 20):
    Image.new('L', (8, 8), 10 * i).save(tmp_path / f'{i:02}.png')
  (tmp_path / '00.png').write_bytes(b'no image')
  config = tiny_configs.autoencoder(f'folder:{tmp_path}')
  config['data'] |= {'batch_size': 8, 'channels': 1, 'in_memory': False}
  runner = sharding.make_runner(schema.ParallelConfig())
  both = datasets_lib.open_datasets(schema.DataConfig(**config['data']), runner)
  assert both.facts['image_shape'] == [8, 8, 1]


@pytest.mark.parametrize('distance', [losses.l1, losses.l2, metrics.psnr])
def test_distances_refuse_to_broadcast(distance):
  one, three = (np.zeros((2, 8, 8, c), np.float32) for c in (1, 3))
  with pytest.raises(ValueError, match=r'shape.* got \(2, 8, 8, 1\) and'):
    distance(one, three)


def test_names_that_are_numbers_stand_for_any_others_must_agree():
  same = checks.have_same_classes
  assert same(['cat', 'dog'], ['cat', 'dog'])
  assert same(['0', '1'], ['cat', 'dog']) and same(['cat', 'dog'], ['0', '1'])
  assert not same(['cat', 'dog'], ['dog', 'cat'])
  assert not same(['0', '1'], ['cat', 'dog', 'eel'])


def test_classes_in_another_order_are_not_evaluated(
  tmp_path, tokenizer, capsys
):
  def folder(name, classes):
    for number, label in enumerate(classes):
      path = tmp_path / name / label
      path.mkdir(parents=True)
      for i in range(16):
        Image.new('L', (8, 8), 80 * number + i).save(path / f'{i}.png')
    return f'folder:{tmp_path / name}'

  config = tiny_configs.prior(folder('first', ['a', 'b']), tokenizer)
  config['data'] |= {'channels': 1, 'batch_size': 8}
  config['train']['total_steps'] = 1
  loop.train(config, tmp_path / 'run')
  other = folder('second', ['b', 'c'])
  code = evaluate.main([str(tmp_path / 'run'), '--source', other])
  assert code == 1
  assert 'not the same, or not in the same order' in capsys.readouterr().err
