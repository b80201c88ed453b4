"""A converted model can be saved, loaded and tokenized with like any run."""

import copy
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vq_jax
from tests.convert import references
from tests.convert import vit_reference
from tests.convert import writing
from tests.convert.released import GOLDEN
from tests.convert.released import write
from tests.train import tiny_configs
from train import loop
from vq_jax.config import registry
from vq_jax.convert import loading
from vq_jax.runs import export as export_lib
from vq_jax.utils import trees
from vq_jax.utils.conversion import pickles


def released(kind, folder):
  """Returns a released file of toy size, and images that suit it."""
  if kind == 'maskgit-tokenizer':
    path = GOLDEN / 'maskgit_tokenizer_toy.msgpack'
    return path, np.load(path.with_suffix('.npz'))['image'][:1]
  if kind == 'taming-vqgan':
    path = GOLDEN / 'taming_vqgan_toy.ckpt'
    return path, np.load(path.with_suffix('.npz'))['image'][:1] / 2 + 0.5
  image = np.random.default_rng(0).uniform(size=(1, 8, 8, 3))
  image = image.astype(np.float32)
  if kind == 'vit-vqgan':
    size = vit_reference.Size(8, 2, 1, 8)
    reference = vit_reference.ViT(size, size, 4, 3, 5)
  else:
    reference = references.Taming(
      32, (1, 1), 1, (1,), 8, 3, 5, llamagen=kind == 'llamagen-vq'
    )
  weights, _ = references.make(reference, image)
  if kind == 'vit-vqgan':
    weights = reference.with_positions(weights, (2, 2))
  path = folder / 'released.ckpt'
  write(path, kind, weights)
  return path, image


@pytest.mark.parametrize('kind', loading.AUTOENCODERS)
def test_export_load_encode_decode_and_one_gradient(kind, tmp_path):
  path, image = released(kind, tmp_path)
  model = vq_jax.convert.load(kind, path)
  config = copy.deepcopy(model.run_config)
  run = tmp_path / 'run'
  export_lib.write_run(run, model.run_config, model.variables['autoencoder'])
  again = vq_jax.load(run)
  assert json.loads(json.dumps(config)) == again.run_config == config
  assert again.autoencoder == model.autoencoder
  jax.tree.map(
    np.testing.assert_array_equal, again.variables, dict(model.variables)
  )
  indices = again.encode(image)
  np.testing.assert_array_equal(indices, model.encode(image))
  np.testing.assert_array_equal(again.decode(indices), model.decode(indices))

  @jax.jit
  def gradient(variables):
    def loss(variables):
      reconstruction, latent = again.autoencoder.apply(variables, image)
      return jnp.mean((reconstruction - image) ** 2) + latent.loss

    return jax.grad(loss)(variables)

  found = trees.flatten(gradient(again.variables['autoencoder']))
  for name, array in found.items():
    assert np.isfinite(array).all(), name
    # A bias that is the same for all keys changes no attention.
    assert name.endswith('key/bias') or np.any(array), name


def test_a_transformer_checkpoint_contains_its_autoencoder(tmp_path):
  path, _ = released('taming-vqgan', tmp_path)
  with pickles.reading(path) as tree:
    weights = {n: np.array(x.numpy()) for n, x in tree['state_dict'].items()}
  ours = {f'first_stage_model.{n}': x for n, x in weights.items()}
  other = np.ones((3, 3), np.float32)
  ours |= {
    'transformer.tok_emb.weight': other,
    'cond_stage_model.quantize.embedding.weight': other,
    'cond_stage_model.encoder.conv_in.weight': other,
    'first_stage_model.loss.discriminator.main.0.weight': other,
  }
  want = vq_jax.convert.load('taming-vqgan', path)
  for tree in ({'state_dict': ours, 'global_step': 9}, ours):
    writing.save(tmp_path / 'net2net.ckpt', tree)
    with pytest.warns(
      vq_jax.convert.ConvertWarning,
      match=r"at '.*first_stage_model.'; those at '.*cond_stage_model.' were "
      'not taken; 3 other arrays, such as cond_',
    ):
      found = vq_jax.convert.load('taming-vqgan', tmp_path / 'net2net.ckpt')
    assert found.run_config == want.run_config
    jax.tree.map(np.testing.assert_array_equal, found.variables, want.variables)


def test_images_of_any_size_are_tokenized(tmp_path):
  """Resized and cropped as such models are evaluated."""
  path, _ = released('vit-vqgan', tmp_path)
  model = vq_jax.convert.load('vit-vqgan', path)
  pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3))
  np.savez(tmp_path / 'x.npz', images=pixels.astype(np.uint8))
  source = f'npz:{tmp_path / "x.npz"}'
  vq_jax.workflows.tokenize.tokenize(model, tmp_path / 'tokens', source=source)
  batch = vq_jax.data.open_source(f'tokens:{tmp_path / "tokens"}').batch(
    np.arange(3)
  )
  assert batch['tokens'].shape == (3, 2, 2)


def test_half_precision_becomes_float32(tmp_path):
  path, _ = released('taming-vqgan', tmp_path)
  with pickles.reading(path) as tree:
    weights = {n: np.array(x.numpy()) for n, x in tree['state_dict'].items()}
  want = vq_jax.convert.load('taming-vqgan', path)
  for dtype in (jnp.bfloat16, np.float16, np.float64):
    cast = {n: x.astype(dtype) for n, x in weights.items()}
    writing.save_legacy(tmp_path / 'cast.pt', cast)
    found = vq_jax.convert.load('taming-vqgan', tmp_path / 'cast.pt')
    for ours, theirs in zip(
      jax.tree.leaves(found.variables),
      jax.tree.leaves(want.variables),
      strict=True,
    ):
      assert ours.dtype == np.float32
      np.testing.assert_array_equal(ours, np.asarray(theirs).astype(dtype))


def test_training_starts_from_it(tmp_path):
  path, _ = released('vit-vqgan', tmp_path)
  model = vq_jax.convert.load('vit-vqgan', path)
  run = tmp_path / 'run'
  export_lib.write_run(run, model.run_config, model.variables['autoencoder'])
  config = tiny_configs.autoencoder(
    tiny_configs.write_images(tmp_path, channels=3), total_steps=1
  )
  config['model'] = json.loads((run / 'config.json').read_text())['config'][
    'model'
  ]
  assert registry.build('autoencoder', config['model']) == model.autoencoder
  config['init_from'] = str(run)
  config['optim'] = {'learning_rate': 1e-5, 'warmup': {'steps': 0}}
  loop.train(config, tmp_path / 'tuned')
  tuned = vq_jax.load(tmp_path / 'tuned')
  moved = jax.tree.map(
    lambda a, b: float(abs(a - b).max()),
    tuned.variables['autoencoder'],
    dict(model.variables['autoencoder']),
  )
  assert 0 < max(jax.tree.leaves(moved)) < 1e-4
