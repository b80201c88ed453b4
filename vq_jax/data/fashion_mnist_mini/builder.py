"""Registers `fashion_mnist_mini` with TensorFlow Datasets when imported."""

import io

import tensorflow_datasets as tfds
from PIL import Image

from vq_jax.data import fashion_mnist_mini

_CITATION = """@article{xiao2017fashion,
  author = {Han Xiao and Kashif Rasul and Roland Vollgraf},
  title = {Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms},
  journal = {arXiv:1708.07747},
  year = {2017}}"""


class FashionMnistMini(tfds.core.GeneratorBasedBuilder):
  """The embedded images as an ordinary TFDS data set; needs no network."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': '10,000 training and 2,000 test images.'}

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='A class-balanced part of Fashion-MNIST.',
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=fashion_mnist_mini.IMAGE_SHAPE),
          'label': tfds.features.ClassLabel(
            names=fashion_mnist_mini.CLASS_NAMES
          ),
        }
      ),
      supervised_keys=('image', 'label'),
      homepage='https://github.com/zalandoresearch/fashion-mnist',
      citation=_CITATION,
      license='MIT, (c) 2017 Zalando SE',
      # Keeps the order, in which the classes take turns.
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # the archives lie beside this file
    return {
      split: self._generate_examples(split)
      for split in fashion_mnist_mini.PER_CLASS
    }

  def _generate_examples(self, split: str):
    images, labels = fashion_mnist_mini.load(split)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
      buffer = io.BytesIO()
      # TFDS itself would need TensorFlow to encode an array.
      Image.fromarray(image[..., 0]).save(buffer, 'PNG', compress_level=1)
      yield i, {'image': buffer.getvalue(), 'label': int(label)}
