"""Uses the installed wheel: imports it, reads its data, quantizes, runs vqjax.

Run from a folder without the source tree, in the environment of the wheel.
"""

import pathlib
import subprocess
import sys

import jax
import numpy as np

import vq_jax
from vq_jax import data
from vq_jax.config import registry
from vq_jax.features import clip_tokenizer

installed = pathlib.Path(vq_jax.__file__)
assert 'site-packages' in installed.parts, f'{installed} is no installed wheel'

source = data.open_source('tfds:fashion_mnist_mini', 'test')
image = np.asarray(source[0]['image'])
assert image.shape == (28, 28, 1), image.shape

quantizer = registry.build(
  'quantizer', {'type': 'vq', 'codebook_size': 8, 'code_dim': 4}
)
z = jax.random.normal(jax.random.key(0), (5, 4))
variables = quantizer.init(jax.random.key(1), z)
assert quantizer.apply(variables, z).indices.shape == (5,)

assert len(clip_tokenizer.read_merges()) == 48894

command = pathlib.Path(sys.executable).with_name('vqjax')
found = subprocess.run([command, '--help'], capture_output=True, check=True)
assert b'generate' in found.stdout
print(f'vq_jax {vq_jax.__version__} works from {installed.parent}')
