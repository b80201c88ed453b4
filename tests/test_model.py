"""A loaded run encodes, decodes, samples, and refuses wrong arguments."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

import vq_jax
from train import sharding
from vq_jax import samplers
from vq_jax.config import schema
from vq_jax.inference import generate
from vq_jax.runs import export as export_lib
from vq_jax.runs import layout
from vq_jax.utils import devices
from vq_jax.utils import trees


@pytest.fixture(scope='module')
def images(source):
  return np.load(source.removeprefix('npz:'))['images']


@pytest.fixture(scope='module')
def autoencoder(tokenizer):
  return vq_jax.load(tokenizer)


@pytest.fixture(scope='module')
def model(maskgit):
  return vq_jax.load(maskgit)


def test_encoding_and_decoding_indices(autoencoder, images):
  indices = autoencoder.encode(images)
  assert indices.shape == (48, 4, 4) and indices.dtype == np.int32
  decoded = np.asarray(autoencoder.decode(indices))
  np.testing.assert_array_equal(decoded, autoencoder.reconstruct(images))
  assert decoded.dtype == np.float32
  assert 0 <= decoded.min() and decoded.max() <= 1
  floats = images / np.float32(255)
  np.testing.assert_array_equal(indices, autoencoder.encode(floats))


def test_a_prior_run_contains_its_autoencoder(maskgit, tmp_path, images):
  """A moved run still has the autoencoder that it was trained with."""
  moved = shutil.copytree(maskgit, tmp_path / 'moved')
  here, there = vq_jax.load(maskgit), vq_jax.load(moved)
  np.testing.assert_array_equal(here.encode(images), there.encode(images))
  np.testing.assert_array_equal(
    here.generate(0, num=3), there.generate(0, num=3)
  )


def test_a_prior_keeps_the_autoencoder_it_was_trained_on(
  model, autoencoder, images
):
  np.testing.assert_array_equal(
    model.encode(images), autoencoder.encode(images)
  )


def test_the_prior_gives_logits(model):
  tokens = np.full((2, 16), model.vocab.mask_id)
  logits = model.prior.apply(
    model.variables['prior'], tokens, label=np.array([0, 1])
  )
  assert logits.shape == (2, 16, model.autoencoder.token_grids[0].codebook_size)


def test_generate_is_a_function_of_the_seed(model):
  first = np.asarray(model.generate(0, labels=[0, 1, 2]))
  assert first.shape == (3, 8, 8, 1)
  np.testing.assert_array_equal(first, model.generate(0, labels=[0, 1, 2]))
  key = jax.random.key(0)
  np.testing.assert_array_equal(first, model.generate(key, labels=[0, 1, 2]))
  assert (first != np.asarray(model.generate(1, labels=[0, 1, 2]))).any()


def test_generate_in_parts_fills_up_the_last(model):
  result = np.asarray(model.generate(0, num=5, batch_size=2))
  assert result.shape[0] == 5
  assert len({image.tobytes() for image in result}) > 1


def test_other_seeds_and_labels_compile_nothing_new(model):
  model.generate(0, labels=[0, 1, 2])
  compiled = generate.sample_tokens._cache_size()
  model.generate(7, labels=[2, 2, 1])
  assert generate.sample_tokens._cache_size() == compiled
  sampler = dataclasses.replace(model.info.sampler, steps=2)
  model.generate(0, labels=[0, 1, 2], sampler=sampler)
  assert generate.sample_tokens._cache_size() == compiled + 1


def test_labels_default_to_all_classes_and_one_serves_all(model):
  np.testing.assert_array_equal(
    model.generate(0, num=4), model.generate(0, labels=[0, 1, 2, 0])
  )
  np.testing.assert_array_equal(
    model.generate(0, labels=2, num=3), model.generate(0, labels=[2, 2, 2])
  )


def test_sharding_over_devices_changes_no_sample(model, monkeypatch):
  sharding = devices.batch_sharding(16)
  assert len(sharding.device_set) == 8
  assert devices.batch_sharding(12) is None
  meshes = []
  sample = generate.sample_images

  def watched(*arguments):
    meshes.append(jax.sharding.get_abstract_mesh())
    return sample(*arguments)

  monkeypatch.setattr(generate, 'sample_images', watched)
  spread = model.generate(0, num=16, sharding=sharding)
  assert spread.sharding.device_set == sharding.device_set
  alone = model.generate(0, num=16)
  assert len(alone.sharding.device_set) == 1
  np.testing.assert_allclose(alone, spread, atol=1e-5)
  # Kernels ask the mesh how arrays are split.
  split, whole = meshes
  assert dict(split.shape) == {'data': 8} and whole.empty


def test_any_number_of_images_is_spread_over_the_devices(model):
  """Batches are rounded up, and the parts of several processes fit."""
  sharding = devices.batch_sharding()
  alone = model.generate(0, num=11)
  parts = [
    image
    for rows in (range(5), range(5, 11))
    for image in model.generate_batches(
      0, num=11, batch_size=3, sharding=sharding, rows=rows
    )
  ]
  assert [len(part) for part in parts] == [5, 6]
  np.testing.assert_allclose(alone, np.concatenate(parts), atol=1e-5)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'labels': [3]}, r'labels must lie in \[0, 3\); got 3'),
    ({'labels': [-1]}, r'labels must lie in \[0, 3\)'),
    ({'labels': [0, 1], 'num': 3}, r'\[3\]; got \(2,\)'),
    ({'num': 0}, 'num must be a whole number in'),
    ({'sampler': 'halton'}, 'sampler must be a MaskGITSampler'),
  ],
)
def test_impossible_requests_are_refused(model, options, message):
  with pytest.raises(ValueError, match=message):
    model.generate(0, **options)


def test_an_autoencoder_alone_cannot_generate(autoencoder):
  with pytest.raises(ValueError, match='an autoencoder without a prior'):
    autoencoder.generate(0)


@pytest.mark.parametrize(
  ('bad', 'message'),
  [
    (np.zeros((1, 4, 4), np.float32), 'indices must be integers'),
    (np.zeros((4, 4), int), r'\[B, h, w\]'),
    (np.full((1, 4, 4), 16), r'must lie in \[0, 16\)'),
    (np.full((1, 4, 4), -1), 'still masked cannot be decoded'),
  ],
)
def test_indices_that_are_no_codes_are_refused(autoencoder, bad, message):
  with pytest.raises(ValueError, match=message):
    autoencoder.decode(bad)


def test_images_of_another_kind_are_refused(autoencoder):
  with pytest.raises(ValueError, match=r'images must be \[B, H, W, 1\]'):
    autoencoder.encode(np.zeros((1, 8, 8, 3), np.uint8))
  with pytest.raises(ValueError, match='multiples of 2'):
    autoencoder.encode(np.zeros((1, 7, 8, 1), np.uint8))
  with pytest.raises(TypeError, match='uint8'):
    autoencoder.encode(np.zeros((1, 8, 8, 1), np.int32))


def test_guidance_needs_a_null_class(model):
  vocab = dataclasses.replace(model.vocab, null_class=False)
  without = dataclasses.replace(model, prior=model.prior.clone(vocab=vocab))
  with pytest.raises(ValueError, match='without a null class'):
    without.generate(0, num=1, sampler=samplers.MaskGITSampler(guidance=1))


def test_a_nan_weight_gives_an_error_and_no_sample(model, images):
  """A single NaN in the head of the prior."""
  flat = trees.flatten(model.variables['prior'])
  name = next(n for n in sorted(flat, reverse=True) if n.endswith('kernel'))
  weights = np.array(flat[name])
  weights.flat[0] = np.nan
  damaged = jax.tree_util.tree_map_with_path(
    lambda path, x: weights if x is flat[name] else x, model.variables['prior']
  )
  broken = dataclasses.replace(
    model, variables={**model.variables, 'prior': damaged}
  )
  known = np.zeros((1, 4, 4), bool)
  for sample in (
    lambda: broken.generate(0, num=2),
    lambda: broken.edit(0, images[0], np.ones((8, 8), bool)),
    lambda: broken.outpaint(0, images[0], left=2),
    lambda: broken.complete(0, known.astype(int), known),
  ):
    with pytest.raises(ValueError, match='NaN or infinite, so no token'):
      sample()


def test_no_run_and_no_checkpoint_are_named(tokenizer, tmp_path):
  with pytest.raises(layout.RunError, match='no such run folder'):
    vq_jax.load(tmp_path / 'none')
  with pytest.raises(layout.RunError, match='has no config.json'):
    vq_jax.load(tmp_path)
  shutil.copy(pathlib.Path(tokenizer) / 'config.json', tmp_path)
  with pytest.raises(layout.RunError, match='no complete checkpoint yet'):
    vq_jax.load(tmp_path)


def test_a_broken_checkpoint_is_named(tokenizer, tmp_path):
  broken = shutil.copytree(tokenizer, tmp_path / 'run')
  for file in (broken / 'checkpoints').glob('*/variables/**/*'):
    if file.is_file():
      file.write_bytes(b'')
  with pytest.raises(layout.RunError, match='all checkpoints .* are damaged'):
    vq_jax.load(broken)


def test_a_checkpoint_of_another_model_is_refused(tokenizer, tmp_path):
  changed = shutil.copytree(tokenizer, tmp_path / 'run')
  config = json.loads((changed / 'config.json').read_text())
  config['config']['model']['encoder']['blocks'] = 2
  (changed / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError, match='- params/encoder/BottleneckBlock_1'):
    vq_jax.load(changed)


def test_export_serves_loading_alone(autoencoder, tmp_path, images):
  export_lib.export_autoencoder(autoencoder, tmp_path / 'exported')
  again = vq_jax.load(tmp_path / 'exported')
  np.testing.assert_array_equal(
    autoencoder.encode(images), again.encode(images)
  )
  want = trees.flatten(autoencoder.variables['autoencoder'])
  got = trees.flatten(again.variables['autoencoder'])
  for name in want:
    np.testing.assert_array_equal(want[name], got[name], err_msg=name)


def test_a_mesh_that_does_not_hold_the_devices_is_refused():
  with pytest.raises(schema.ConfigError, match='at most the 8 devices'):
    sharding.make_mesh(schema.ParallelConfig(data=9))
