"""Uses the installed wheel: imports it, reads its data, quantizes, runs vqjax.

Run from a folder without the source tree, in an environment with the wheel and
what it requires, without extras.
"""

import importlib.util
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

for module in ('grain', 'sklearn', 'tensorboardX', 'tensorflow_datasets'):
  assert importlib.util.find_spec(module) is None, f'{module} is an extra'

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

model = vq_jax.load('fashion')
samples = model.generate(0, labels=[5, 9])
assert samples.shape == (2, 28, 28, 1), samples.shape
mask = np.zeros((2, 28, 28), bool)
mask[:, 14:] = True
assert model.edit(0, samples, mask, label=5).shape == samples.shape

print(f'vq_jax {vq_jax.__version__} works from {installed.parent}')
