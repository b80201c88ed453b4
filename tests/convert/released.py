"""Released files at toy size, and the models that are loaded from them."""

import pathlib

import flax.serialization
import jax
import numpy as np
import pytest

from tests.convert import references
from tests.convert import vit_reference
from tests.convert import writing
from vq_jax import convert
from vq_jax.utils import trees

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden'

TAMING = references.Taming(
  ch=32, ch_mult=(1, 2), num_res_blocks=1, attention=(1,), z_channels=24,
  embed_dim=6, n_embed=40,
)  # fmt: skip
MASKGIT = references.MaskGIT(32, (1, 2), 1, 6, 40)
VIT = vit_reference.ViT(
  vit_reference.Size(8, 2, 1, 8), vit_reference.Size(12, 1, 1, 8), 4, 3, 5
)
REFERENCES = {
  'taming-vqgan': TAMING, 'maskgit-tokenizer': MASKGIT, 'vit-vqgan': VIT
}  # fmt: skip


def make_weights(kind):
  weights = references.RandomWeights()
  reference = REFERENCES[kind]
  for name, shape in references.get_shapes(reference).items():
    weights(name, *shape)
  if kind == 'vit-vqgan':
    return reference.with_positions(weights, (4, 4))
  return dict(weights)


# A config that fits TAMING.
CONFIG = {
  'base_learning_rate': 4.5e-06,
  'target': 'taming.models.vqgan.VQModel',
  'params': {
    'embed_dim': 6,
    'n_embed': 40,
    'ddconfig': {
      'double_z': False, 'z_channels': 24, 'resolution': 64, 'in_channels': 3,
      'out_ch': 3, 'ch': 32, 'ch_mult': [1, 2], 'num_res_blocks': 1,
      'attn_resolutions': [32, 8], 'dropout': 0.0,
    },
    'lossconfig': {'target': 'x', 'params': {'disc_start': 0}},
  },
}  # fmt: skip


def write(path, kind, weights):
  """Writes weights as that kind is released."""
  if kind == 'maskgit-tokenizer':
    tree = {'params': trees.unflatten(weights)}
    path.write_bytes(flax.serialization.to_bytes(tree))
  elif kind == 'llamagen-vq':
    writing.save(path, {'model': weights, 'optimizer': 1})
  else:
    loss = {'loss.logvar': np.zeros((), np.float32)}
    tree = {'state_dict': {**weights, **loss}, 'epoch': 3}
    writing.save(path, tree)


def refused(path, kind, weights, **options) -> str:
  """Returns the error message of loading the weights."""
  if weights is not None:
    write(path, kind, weights)
  with pytest.raises(convert.ConvertError) as error:
    convert.load(kind, path, **options)
  assert str(path) in str(error.value) or options
  return str(error.value)


def outputs(model, image):
  """Features, indices and reconstruction of images in [0, 1]."""

  @jax.jit
  def run(variables, image):
    module = model.autoencoder.bind(variables)
    indices = module.encode(image).indices
    return {
      'features': module.to_code(module.features(image)),
      'indices': indices,
      'reconstruction': module.decode_indices(indices),
    }

  return run(model.variables['autoencoder'], image)
