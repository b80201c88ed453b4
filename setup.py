"""Installs the library `vq_jax`; training runs from the checkout."""

import pathlib
import re

import setuptools

_HERE = pathlib.Path(__file__).parent
_VERSION = re.search(
  r"^__version__ = '(.+)'$",
  (_HERE / 'vq_jax' / '_version.py').read_text(),
  re.MULTILINE,
).group(1)

# What training and evaluating on TensorFlow Datasets need beyond sampling.
_TRAIN = [
  'array_record',
  'grain>=0.2.18',
  'importlib_resources',  # tensorflow-datasets needs it, unsaid
  'scikit-learn',
  'tensorboardX',
  'tensorflow-datasets>=4.9.10',
]
_HUB = ['gcsfs', 'huggingface_hub']
_DEMO = ['gradio>=6']

setuptools.setup(
  name='vq_jax',
  version=_VERSION,
  description='Vector-quantized image models in JAX and Flax',
  long_description=(_HERE / 'README.md').read_text(),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11',
  # `train` and `configs` are too common as names to be installed.
  packages=setuptools.find_packages(include=['vq_jax', 'vq_jax.*']),
  package_data={
    'vq_jax': ['py.typed'],
    'vq_jax.data': ['fashion_mnist_mini/*'],
    'vq_jax.demo': ['*.css', '*.js'],
    'vq_jax.features': ['clip_bpe/*'],
    'vq_jax.pretrained': ['fashion/**'],
  },
  install_requires=[
    'dm-pix',
    'etils[epath]',
    'flax>=0.12',
    'jax>=0.10',
    'numpy>=2.0',
    'optax>=0.2.8',
    'orbax-checkpoint>=0.12',
    'pillow',
    'pyyaml',
    'shtab',
    'tqdm',
  ],
  extras_require={
    'train': _TRAIN,
    'tpu': ['jax[tpu]'],
    'cuda': ['jax[cuda12]'],
    'hub': _HUB,
    'demo': _DEMO,
    'plan': ['libtpu'],
    'clip': ['imageio-ffmpeg', 'tokenizers'],
    'plot': ['matplotlib'],
    'peers': ['torch', 'transformers'],
    'docs': ['mkdocs-material>=9.5', 'mkdocstrings[python]>=0.26', 'ruff'],
    'test': [
      *_TRAIN,
      *_HUB,
      *_DEMO,
      'hypothesis',
      'imageio-ffmpeg',
      'ipykernel',
      'matplotlib',
      'mypy',
      'nbclient',
      'nbformat',
      'playwright',
      'pytest',
      'pytest-xdist',
      'ruff',
      'tokenizers',
    ],
  },
  entry_points={'console_scripts': ['vqjax = vq_jax.cli.main:main']},
  classifiers=[
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Programming Language :: Python :: 3.13',
  ],
)
