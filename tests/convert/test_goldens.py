"""Released modules at toy size: what they computed is what ours compute."""

import pathlib

import jax
import numpy as np
import pytest

from vq_jax import convert

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden'


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


@pytest.mark.parametrize(
  ('kind', 'file', 'low'),
  [
    ('maskgit-tokenizer', 'maskgit_tokenizer_toy.msgpack', 0),
    ('taming-vqgan', 'taming_vqgan_toy.ckpt', -1),
  ],
)
def test_features_indices_and_reconstructions(kind, file, low):
  """`low` is the least value of a pixel there."""
  golden = np.load((GOLDEN / file).with_suffix('.npz'))
  model = convert.load(kind, GOLDEN / file)
  found = outputs(model, (golden['image'] - low) / (1 - low))
  np.testing.assert_array_equal(found['indices'], golden['indices'])
  np.testing.assert_allclose(
    found['features'], golden['features'], rtol=0, atol=1e-5
  )
  np.testing.assert_allclose(
    (1 - low) * found['reconstruction'] + low,
    golden['reconstruction'],
    rtol=0,
    atol=1e-5,
  )
