"""Packages that only some functions need may be missing."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.train import tiny_configs
from vq_jax import data
from vq_jax import metrics
from vq_jax.data import open_source
from vq_jax.guidance import augmentations
from vq_jax.metrics import probe
from vq_jax.utils import packages

ROOT = pathlib.Path(__file__).parents[2]


def test_a_training_step_is_built_without_them(bare_environment):
  program = """
from train.planning import abstract
import train.main
import vq_jax

file = abstract.ConfigFile.load('configs/quickstart_maskgit.py:smoke')
training = abstract.open_training(file)
assert training.examples.image_shape == (28, 28, 1)
assert training.num_parameters > 0
"""
  done = subprocess.run(
    [sys.executable, '-c', program],
    env=bare_environment,
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr


def test_a_training_names_the_package_that_it_needs(
  bare_environment, source, tmp_path
):
  config = tmp_path / 'config.py'
  config.write_text(
    f'def get_config():\n  return {tiny_configs.autoencoder(source)!r}\n'
  )
  done = subprocess.run(
    [sys.executable, '-m', 'train.main', '--config', config]
    + ['--workdir', tmp_path / 'run'],
    env=bare_environment,
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert line.startswith(
    "error: training needs grain and tensorboardX: run `pip install 'vq_jax[tr"
  )
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
  ('module', 'message', 'call'),
  [
    ('dm_pix', 'SSIM needs the package dm-pix', metrics.ssim),
    (
      'sklearn',
      'a linear probe needs the package scikit-learn: run `pip install sci'
      "kit-learn`, or `pip install 'vq_jax.train.'`",
      lambda a, b: probe.probe_accuracy((a[:, 0, 0], [0, 1]), (b, [0])),
    ),
    (
      'dm_pix',
      'ColorJitter needs the package dm-pix',
      lambda a, b: augmentations.ColorJitter().change(None, a[0]),
    ),
  ],
)
def test_a_function_names_the_package_that_it_needs(
  monkeypatch, module, message, call
):
  monkeypatch.setitem(sys.modules, module, None)
  images = np.zeros((2, 16, 16, 3), np.float32)
  with pytest.raises(packages.MissingPackageError, match=message):
    call(images, images)


def test_the_embedded_images_need_no_package(monkeypatch):
  found = [open_source('tfds:fashion_mnist_mini', 'test[20:40]')]
  monkeypatch.setitem(sys.modules, 'tensorflow_datasets', None)
  found.append(open_source('tfds:fashion_mnist_mini', 'test[20:40]'))
  with_tfds, without = found
  assert with_tfds.name == without.name
  assert with_tfds.class_names == without.class_names
  assert with_tfds.image_shape == without.image_shape
  for a, b in zip(
    with_tfds.read(range(20)), without.read(range(20)), strict=True
  ):
    np.testing.assert_array_equal(a['image'], b['image'])
    assert a['label'] == b['label']
  with pytest.raises(data.DataError, match='no split'):
    open_source('tfds:fashion_mnist_mini', 'validation')
