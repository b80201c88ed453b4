"""Released modules at toy size: our outputs equal theirs."""

import numpy as np
import pytest

from tests.convert.released import GOLDEN
from tests.convert.released import outputs
from vq_jax import convert


@pytest.mark.parametrize(
  ('kind', 'file', 'low'),
  [
    ('maskgit-tokenizer', 'maskgit_tokenizer_toy.msgpack', 0),
    ('taming-vqgan', 'taming_vqgan_toy.ckpt', -1),
  ],
)
def test_features_indices_and_reconstructions(kind, file, low):
  """`low` is the smallest pixel value of the released model."""
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
