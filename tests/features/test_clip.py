"""CLIP computes what other programs compute, from the files of each source."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.convert import torchscript
from tests.convert import writing
from tests.convert.test_safetensors import save_arrays
from tests.golden import clip as golden
from tests.utils.variables import random_variables
from vq_jax import features

TOY = features.CLIPConfig(
  embed_dim=8,
  image_size=8,
  vision=features.ViTConfig(patch=4, width=16, layers=2, heads=2),
  text_width=16,
  text_heads=2,
  text_layers=2,
  context_length=7,
  vocab_size=12,
)


def make(config=TOY, **fields):
  """Returns a CLIP with random variables, two images and two texts."""
  clip = features.CLIP(config, **fields)
  rng = np.random.default_rng(0)
  size = config.image_size
  image = jnp.asarray(rng.random((2, size, size, 3)), jnp.float32)
  tokens = jnp.asarray([[10, 3, 4, 11, 0, 0, 0], [10, 5, 11, 0, 0, 0, 0]])
  return clip, random_variables(clip, image, tokens), image, tokens


def load(path, image, tokens, **options):
  """Returns the outputs of a file, by their names in the golden file."""
  clip, variables = features.load_clip(path, **options)

  @jax.jit
  def outputs(variables, image, tokens):
    return {
      'image': clip.apply(variables, image, method='encode_image'),
      'text': clip.apply(variables, tokens, method='encode_text'),
      'logits': clip.apply(variables, image, tokens),
    }

  return outputs(variables, image, tokens)


def save_huggingface(folder, toy, arrays, **text):
  folder.mkdir(exist_ok=True)
  save_arrays(folder / 'model.safetensors', golden.huggingface(arrays))
  config = golden.huggingface_config(toy, **text)
  (folder / 'config.json').write_text(json.dumps(config))
  return folder


def assert_close(found, want, atol):
  for name, values in want.items():
    np.testing.assert_allclose(found[name], values, atol=atol, err_msg=name)


@pytest.mark.parametrize('name', golden.TOYS)
def test_outputs_of_other_programs(name, tmp_path):
  """The golden file is of transformers, and of PyTorch for the ResNet."""
  toy = golden.TOYS[name]
  want = json.loads(golden.JSON.read_text())[name]
  arrays = golden.state(toy)
  writing.save(tmp_path / 'a.pt', {'state_dict': arrays})
  found = load(
    tmp_path / 'a.pt', *golden.inputs(toy), activation=toy.activation
  )
  assert_close(found, want, atol=1e-5)


def test_all_formats_give_the_same_variables(tmp_path):
  toy = golden.TOYS['two by two patches']
  arrays = golden.openai(toy)
  script = torchscript.modules(arrays)
  folder = save_huggingface(tmp_path / 'folder', toy, arrays)
  paths = [
    torchscript.save(tmp_path / 'script.pt', script),
    save_arrays(tmp_path / 'open_clip.safetensors', arrays),
    folder,
    folder / 'model.safetensors',
  ]
  module = {f'module.{name}': array for name, array in arrays.items()}
  writing.save(tmp_path / 'trained.pt', {'state_dict': module, 'epoch': 3})
  want_clip, want = features.load_clip(tmp_path / 'trained.pt')
  for path in paths:
    clip, variables = features.load_clip(path)
    # Only the config of Hugging Face names the token of the end.
    config = dataclasses.replace(clip.config, end_token=None)
    assert config == want_clip.config
    jax.tree.map(np.testing.assert_array_equal, variables, want)


def test_half_precision_is_loaded_as_float32(tmp_path):
  toy = golden.TOYS['two by two patches']
  arrays = {k: v.astype(np.float16) for k, v in golden.openai(toy).items()}
  path = torchscript.save(tmp_path / 'a.pt', torchscript.modules(arrays))
  _, variables = features.load_clip(path)
  assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype('f4')}
  np.testing.assert_array_equal(
    variables['params']['text_encoder']['embedding']['embedding'],
    arrays['token_embedding.weight'].astype(np.float32),
  )


@pytest.mark.parametrize('name', [n for n, t in golden.TOYS.items() if t.patch])
def test_transformers_with_other_weights(name, tmp_path):
  pytest.importorskip('torch')
  pytest.importorskip('transformers')
  toy = golden.TOYS[name]
  arrays = golden.state(toy, seed=3)
  want = golden.transformers_outputs(toy, arrays, *golden.inputs(toy))
  folder = save_huggingface(tmp_path / 'folder', toy, arrays)
  assert_close(load(folder, *golden.inputs(toy)), want, atol=1e-4)


@pytest.mark.parametrize('end', [2, 7])
def test_transformers_with_other_end_tokens(end, tmp_path):
  """2 stands for the largest id, 7 for the first 7."""
  pytest.importorskip('torch')
  pytest.importorskip('transformers')
  toy = golden.TOYS['two by two patches']
  arrays, (image, tokens) = golden.state(toy), golden.inputs(toy)
  tokens[:, 4], tokens[:, 6] = 7, 7
  want = golden.transformers_outputs(
    toy, arrays, image, tokens, eos_token_id=end
  )
  folder = save_huggingface(tmp_path / 'folder', toy, arrays, eos_token_id=end)
  assert_close(load(folder, image, tokens), want, atol=1e-4)


def test_pytorch_resnet_with_other_weights(tmp_path):
  pytest.importorskip('torch')
  toy = golden.Toy(image_size=96, width=4, stages=(2, 1, 2, 1))
  arrays, (image, tokens) = golden.openai(toy, seed=3), golden.inputs(toy)
  path = torchscript.save(tmp_path / 'a.pt', torchscript.modules(arrays))
  want = {'image': golden.torch_resnet(arrays, image)}
  assert_close(load(path, image, tokens), want, atol=1e-4)


def test_logits_are_scaled_cosines():
  clip, variables, image, tokens = make()
  variables['params']['logit_scale'] = jnp.log(7.0)
  embed = jax.jit(
    lambda v, i, t: (
      clip.apply(v, i, t),
      clip.apply(v, i, method='encode_image'),
      clip.apply(v, t, method='encode_text'),
    )
  )
  logits, images, texts = embed(variables, image, tokens)
  for x in (images, texts):
    np.testing.assert_allclose(jnp.linalg.norm(x, axis=-1), 1, rtol=1e-5)
  np.testing.assert_allclose(logits, 7 * images @ texts.T, rtol=1e-4)


def test_what_follows_the_end_of_a_text_does_not_matter():
  clip, variables, _, tokens = make()
  by_id = features.CLIP(dataclasses.replace(TOY, end_token=11))
  encode = jax.jit(
    lambda v, t: [c.apply(v, t, method='encode_text') for c in (clip, by_id)]
  )
  other = tokens.at[:, 4:].set(9)
  for x, y in zip(
    encode(variables, tokens), encode(variables, other), strict=True
  ):
    np.testing.assert_allclose(x, y, atol=1e-6)
  # Of two ends the first one counts.
  twice = tokens.at[:, 6].set(11)
  for x in encode(variables, twice):
    np.testing.assert_allclose(x, encode(variables, tokens)[0], atol=1e-6)


RESNET = dataclasses.replace(
  TOY,
  image_size=32,
  vision=features.ResNetConfig(layers=(1, 1, 1, 1), width=4, heads=2),
)


@pytest.mark.parametrize('config', [TOY, RESNET], ids=['vit', 'resnet'])
def test_remat_changes_no_gradient(config):
  clip, variables, image, _ = make(config)
  remat = features.CLIP(config, remat=True)

  @jax.jit
  def gradients(image):
    def score(image, clip):
      return clip.apply(variables, image, method='encode_image')[:, 0].sum()

    return [jax.grad(score)(image, module) for module in (clip, remat)]

  plain, saved = gradients(image)
  assert jnp.abs(plain).max() > 1e-4
  np.testing.assert_allclose(plain, saved, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('config', [TOY, RESNET], ids=['vit', 'resnet'])
def test_bfloat16_gives_nearly_the_same_float32_embeddings(config):
  clip, variables, image, tokens = make(config)
  half = features.CLIP(config, dtype=jnp.bfloat16)

  @jax.jit
  def embed(image, tokens):
    return [
      module.apply(variables, x, method=method)
      for method, x in (('encode_image', image), ('encode_text', tokens))
      for module in (clip, half)
    ]

  images, half_images, texts, half_texts = embed(image, tokens)
  for full, found in ((images, half_images), (texts, half_texts)):
    assert found.dtype == jnp.float32
    assert (full * found).sum(-1).min() > 0.999
    assert jnp.abs(full - found).max() > 0


def test_grey_images_are_repeated():
  clip, variables, image, _ = make()
  grey = image[..., :1]
  encode = jax.jit(lambda x: clip.apply(variables, x, method='encode_image'))
  np.testing.assert_array_equal(
    encode(grey), encode(jnp.repeat(grey, 3, axis=-1))
  )


def test_mean_and_deviation_are_those_of_the_config():
  clip, variables, image, _ = make()
  half = dataclasses.replace(TOY, mean=(0.5,) * 3, std=(0.5,) * 3)
  encode = jax.jit(
    lambda image, clip: clip.apply(variables, image, method='encode_image'),
    static_argnums=1,
  )
  moved = (np.asarray(image) - 0.5) / 0.5 * golden.STD + golden.MEAN
  np.testing.assert_allclose(
    encode(image, features.CLIP(half)), encode(moved, clip), atol=1e-5
  )


def test_inputs_of_other_shapes_are_refused():
  clip, variables, image, tokens = make()
  with pytest.raises(ValueError, match='8 x 8 pixels; got 4 x 8'):
    clip.apply(variables, image[:, :4], method='encode_image')
  long = jnp.zeros((1, 8), jnp.int32)
  for wrong in (long, tokens[0]):
    with pytest.raises(ValueError, match='N at most 7; got'):
      clip.apply(variables, wrong, method='encode_text')


def test_configs_that_cannot_be():
  with pytest.raises(ValueError, match='multiple of 4, .*; got 9'):
    dataclasses.replace(TOY, image_size=9)
  with pytest.raises(ValueError, match='multiple of 32'):
    dataclasses.replace(RESNET, image_size=40)
  with pytest.raises(ValueError, match='width 16 of the text encoder .* got 3'):
    dataclasses.replace(TOY, text_heads=3)
  vision = dataclasses.replace(RESNET.vision, heads=3)
  with pytest.raises(ValueError, match='width 128 of the image encoder'):
    dataclasses.replace(RESNET, vision=vision)
  with pytest.raises(ValueError, match='std'):
    dataclasses.replace(TOY, std=(0.5, 0.0, 0.5))
