"""The packaged model is small, complete and described."""

import vq_jax
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
