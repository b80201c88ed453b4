"""Editing, outpainting and completion of images by tiny untrained models."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.train import tiny_configs
from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax import samplers
from vq_jax.config import modules
from vq_jax.inference import codec
from vq_jax.inference import generate
from vq_jax.inference import masks
from vq_jax.inference import windows
from vq_jax.layers import transformer
from vq_jax.runs import load as load_lib
from vq_jax.utils import images

SIDE, STRIDE = 8, 2
CAUSAL = {
  'type': 'autoregressive',
  'transformer': {
    'layers': 1,
    'width': 16,
    'heads': 2,
    'mlp_width': 32,
    'dropout': 0.0,
  },
}


def louder(tree):
  """Scales weights up, so that the logits of an untrained network differ."""
  return jax.tree.map(lambda x: 8 * x if x.ndim > 1 else x, tree)


def untrained(config, *, classes=3, null_class=True, parent=None):
  """A model of 8 x 8 colour images."""
  run = {
    'config': config,
    'dataset': {'image_shape': (SIDE, SIDE, 3), 'class_names': list('abc')},
    'labels': {'num_classes': classes, 'null_class': null_class},
  }
  autoencoder = modules.make_autoencoder({'config': {'model': config['codes']}})
  prior = modules.make_prior(run, autoencoder)
  image = np.zeros((1, SIDE, SIDE, 3), np.float32)
  rngs = {'params': jax.random.key(0), 'code': jax.random.key(1)}
  codes = jax.jit(autoencoder.init)(rngs, image)
  params = jax.jit(lambda rng: modules.init_prior(prior, rng))(
    jax.random.key(2)
  )
  return load_lib.make_model(
    autoencoder,
    {'autoencoder': louder(codes), 'prior': louder(params)},
    run,
    prior=prior,
    parent=parent,
  )


def config(prior=None, **more):
  one = tiny_configs.prior('', '')
  codes = tiny_configs.autoencoder('')['model']
  codes['decoder']['out_channels'] = 3
  return {
    'codes': codes,
    'model': prior or one['model'],
    'sampler': {'guidance': 1.0} | ({} if prior else {'steps': 3}),
    'data': {'source': 'none'},
    **more,
  }


@pytest.fixture(scope='module')
def model():
  return untrained(config())


@pytest.fixture(scope='module')
def causal():
  return untrained(config(CAUSAL))


@pytest.fixture(scope='module')
def hierarchy():
  """Two grids, 2 x 2 above 4 x 4, with two codes for a latent."""
  inner = {'type': 'vq', 'codebook_size': 8, 'code_dim': 4}
  codes = {
    'type': 'vqvae2',
    'strides': (2, 2),
    'channels': 8,
    'residual_channels': 4,
    'residual_blocks': 1,
    'quantizer': {'type': 'residual', 'levels': 2, 'quantizer': inner},
  }
  top = untrained(config(CAUSAL, codes=codes, level=0))
  both = untrained(config(codes=codes, level=1), parent=top)
  parent = dataclasses.replace(
    top,
    variables={**top.variables, 'autoencoder': both.variables['autoencoder']},
  )
  return dataclasses.replace(both, parent=parent)


def make_images(height=SIDE, width=SIDE, dtype=np.uint8, seed=0, num=3):
  rng = np.random.default_rng(seed)
  pixels = rng.integers(0, 256, (num, height, width, 3), dtype=np.uint8)
  return pixels if dtype == np.uint8 else pixels / dtype(255)


def some_mask(height=SIDE, width=SIDE, seed=0, num=3):
  """A rectangle for each: bool [3, H, W]."""
  rng = np.random.default_rng(seed)
  mask = np.zeros((num, height, width), bool)
  for each in mask:
    top, left = rng.integers(0, [height - 2, width - 2])
    each[top : top + height // 2, left : left + width // 2] = True
  return mask


@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize('size', [(8, 8), (5, 7), (13, 8)])
def test_pixels_outside_the_mask_stay_to_the_bit(model, size, dtype):
  """Images of the training size, smaller and larger ones."""
  image, mask = make_images(*size, dtype), some_mask(*size)
  result = np.asarray(model.edit(0, image, mask, label=[0, 1, 2]))
  assert result.shape == image.shape and result.dtype == np.float32
  want = image / np.float32(255) if dtype == np.uint8 else np.float32(image)
  np.testing.assert_array_equal(result[~mask], want[~mask])
  np.testing.assert_array_equal(
    images.to_uint8(result)[~mask], images.to_uint8(image)[~mask]
  )
  assert (result[mask] != want[mask]).any()
  assert 0 <= result.min() and result.max() <= 1


@pytest.mark.parametrize('size', [(8, 8), (5, 7), (13, 8)])
def test_masked_pixels_have_no_influence_on_the_result(model, size):
  image, mask = make_images(*size, np.float32), some_mask(*size)
  result = model.edit(0, image, mask, label=1)
  for hidden in (np.nan, 0.0, make_images(*size, np.float32, seed=1)):
    other = np.where(mask[..., None], np.float32(hidden), image)
    np.testing.assert_array_equal(result, model.edit(0, other, mask, label=1))
  seen = np.where(mask[..., None], image, 1 - image)
  different = np.asarray(model.edit(0, seen, mask, label=1))
  assert (different[mask] != np.asarray(result)[mask]).any()


@pytest.mark.parametrize('size', [(8, 8), (13, 8)])
def test_an_edited_image_depends_only_on_its_index(model, size):
  """Not on the other images, their windows, or the batch size."""
  image, mask = make_images(*size), some_mask(*size)
  mask[0, 1:5] = False
  mask[0, :3, :3] = True
  result = np.asarray(model.edit(0, image, mask, label=[0, 1, 2]))
  others, masks = make_images(*size, seed=1), np.ones_like(mask)
  others[0], masks[0] = image[0], mask[0]
  changed = np.asarray(model.edit(0, others, masks, label=[0, 2, 1]))
  np.testing.assert_array_equal(result[0], changed[0])
  parts = model.edit(0, image, mask, label=[0, 1, 2], batch_size=2)
  np.testing.assert_allclose(result, parts, atol=1e-5)
  alone = model.edit(0, image[0], mask[0], label=0)
  np.testing.assert_allclose(result[0], alone, atol=1e-5)
  assert (
    result != np.asarray(model.edit(1, image, mask, label=[0, 1, 2]))
  ).any()


def test_an_empty_mask_keeps_the_image_and_a_full_one_equals_generate(model):
  image = make_images()
  nothing, all_of_it = np.zeros((3, 8, 8), bool), np.ones((3, 8, 8), bool)
  for keep in (True, False):
    result = model.edit(0, image, nothing, label=1, keep_pixels=keep)
    np.testing.assert_array_equal(result, image / np.float32(255))
  new = np.asarray(model.generate(0, labels=[0, 1, 2]))
  result = model.edit(0, image, all_of_it, label=[0, 1, 2])
  np.testing.assert_array_equal(result, new)
  mixed = np.stack([nothing[0], all_of_it[1], nothing[2]])
  result = np.asarray(model.edit(0, image, mixed, label=[0, 1, 2]))
  np.testing.assert_array_equal(result[1], new[1])
  np.testing.assert_array_equal(result[0], image[0] / np.float32(255))


@pytest.mark.parametrize('dilate', [0, 1])
def test_an_edit_equals_a_completion_of_the_unmasked_tokens(model, dilate):
  image, mask = make_images(dtype=np.float32), some_mask()
  known = ~masks.token_mask(mask, STRIDE, dilate)
  indices = model.encode(masks.fill(image, ~mask))
  sampled = model.complete(0, indices, known, label=2)
  result = model.edit(0, image, mask, label=2, dilate=dilate, keep_pixels=False)
  np.testing.assert_array_equal(result, model.decode(sampled))


@pytest.mark.parametrize(
  'options',
  [{}, {'remask': 0.5}, {'order': 'halton'}, {'order': 'random', 'steps': 1}],
)
@pytest.mark.parametrize('size', [4, 9])
def test_known_indices_never_change(model, size, options):
  rng = np.random.default_rng(0)
  indices = rng.integers(0, 16, (3, size, 4))
  known = rng.random(indices.shape) < 0.5
  garbage = np.where(known, indices, -7)
  sampler = dataclasses.replace(model.info.sampler, **options)
  sampled = np.asarray(
    model.complete(0, garbage, known, label=0, sampler=sampler)
  )
  np.testing.assert_array_equal(sampled[known], indices[known])
  assert (sampled[~known] != indices[~known]).any()
  assert 0 <= sampled.min() and sampled.max() < 16
  full = np.ones_like(known)
  np.testing.assert_array_equal(
    indices, model.complete(0, indices, full, label=0, sampler=sampler)
  )


@pytest.mark.parametrize('name', ['model', 'causal', 'hierarchy'])
def test_completion_without_known_tokens_equals_generation(name, request):
  model = request.getfixturevalue(name)
  indices = model.encode(make_images())
  nothing = jax.tree.map(lambda x: np.zeros(x.shape, bool), indices)
  sampled = model.complete(0, indices, nothing, label=[0, 1, 2])
  new = model.generate(0, labels=[0, 1, 2])
  np.testing.assert_array_equal(new, model.decode(sampled))


def test_a_causal_prior_completes_from_earlier_tokens_only(causal):
  rng = np.random.default_rng(0)
  indices = rng.integers(0, 16, (3, 4, 4))
  known = np.zeros(indices.shape, bool)
  known[:, :2] = known[:, 3] = True

  def row(changed=None):
    given = indices.copy()
    if changed is not None:
      given[:, changed] = (given[:, changed] + 1) % 16
    sampled = np.asarray(causal.complete(0, given, known, label=0))
    np.testing.assert_array_equal(sampled[known], given[known])
    return sampled[:, 2]

  np.testing.assert_array_equal(row(), row(changed=3))
  assert (row() != row(changed=1)).any()


def test_each_token_grid_is_masked_by_its_own_stride(hierarchy, monkeypatch):
  """The parent level is sampled first, then the child level given it."""
  image, mask = make_images(), np.zeros((8, 8), bool)
  mask[5, 2] = True
  seen = []
  inner = generate.sample_levels

  def spy(levels, keys, label, given, trace):
    sampled = inner(levels, keys, label, given, trace)
    seen.extend(zip(given, sampled, strict=True))
    return sampled

  monkeypatch.setattr(generate, 'sample_levels', spy)
  result = np.asarray(hierarchy.edit(0, image, mask, label=1, dilate=0))
  np.testing.assert_array_equal(
    result[:, ~mask], (image / np.float32(255))[:, ~mask]
  )
  (top, bottom) = seen
  for ((tokens, known), sampled), side, position in (
    (top, 2, (1, 0)),
    (bottom, 4, (2, 1)),
  ):
    np.testing.assert_array_equal(np.asarray(sampled)[known], tokens[known])
    resampled = ~known.reshape(3, side, side, 2)
    assert resampled[:, *position].all() and resampled.sum() == 3 * 2


@pytest.mark.parametrize(
  ('size', 'sides'),
  [
    ((8, 8), {'right': 8}),
    ((3, 5), {'left': 3, 'top': 1}),
    ((8, 7), {'left': 5, 'right': 6, 'top': 2, 'bottom': 7}),
  ],
)
def test_outpainting_keeps_the_given_pixels(model, sides, size):
  image = make_images(*size)
  result = np.asarray(model.outpaint(0, image, **sides, label=1))
  top, left = sides.get('top', 0), sides.get('left', 0)
  bottom, right = sides.get('bottom', 0), sides.get('right', 0)
  height, width = size
  assert result.shape == (3, height + top + bottom, width + left + right, 3)
  inside = result[:, top : top + height, left : left + width]
  np.testing.assert_array_equal(inside, image / np.float32(255))
  assert (
    result != np.asarray(model.outpaint(1, image, **sides, label=1))
  ).any()
  one = model.outpaint(0, image[0], **sides, label=1)
  np.testing.assert_allclose(one, result[0], atol=1e-5)


def test_outpainting_aligns_tokens_with_the_given_image(model, monkeypatch):
  """All tokens of the given image are then known."""
  seen = []
  inner = windows.sample_missing

  def spy(pipeline, keys, indices, *rest):
    seen.append(indices[0][1])
    return inner(pipeline, keys, indices, *rest)

  monkeypatch.setattr(windows, 'sample_missing', spy)
  model.outpaint(0, make_images(), left=3, top=1, label=1)
  (known,) = seen
  assert known.shape == (3, 5, 6)
  assert known[:, 1:, 2:].all() and known.sum() == 3 * 16


def test_the_cost_is_one_encode_and_one_sampling_for_each_window(
  model, monkeypatch
):
  calls = []

  def counted(module, name):
    inner = getattr(module, name)

    def spy(*args, **kwargs):
      calls.append((name, args[0]))
      return inner(*args, **kwargs)

    monkeypatch.setattr(module, name, spy)

  counted(codec, 'encode_tokens')
  counted(codec, 'decode_tokens')
  counted(generate, 'sample_tokens')
  model.edit(0, make_images(), some_mask(), label=0)
  assert [name for name, _ in calls] == [
    'encode_tokens', 'sample_tokens', 'decode_tokens',
  ]  # fmt: skip
  edited = calls[1]
  calls.clear()
  model.generate(0, labels=[0, 0, 0])
  assert edited in calls
  calls.clear()
  model.outpaint(0, make_images(), right=8, label=0)
  masked = np.zeros((4, 8), bool)
  masked[:, 4:] = True
  count = len(windows.windows(masked, (4, 4)))
  assert [name for name, _ in calls] == [
    'encode_tokens', *['sample_tokens'] * count, 'decode_tokens',
  ]  # fmt: skip


def test_other_masks_and_sizes_compile_no_new_sampler(model):
  model.edit(0, make_images(), some_mask(), label=0)
  compiled = generate.sample_tokens._cache_size()
  model.edit(5, make_images(seed=1), some_mask(seed=1), label=[2, 1, 0])
  model.edit(0, make_images(13, 8), some_mask(13, 8), label=0)
  model.outpaint(0, make_images(5, 7), right=20)
  assert generate.sample_tokens._cache_size() == compiled


@pytest.mark.parametrize(('name', 'steps'), [('model', 3), ('causal', 4)])
def test_a_trace_ends_in_the_result(name, steps, request):
  model = request.getfixturevalue(name)
  image, mask = make_images(), some_mask()
  result = np.asarray(model.edit(0, image, mask, label=0))
  traced = np.asarray(model.edit(0, image, mask, label=0, trace=True))
  assert traced.shape == (3, steps, 8, 8, 3)
  np.testing.assert_array_equal(traced[:, -1], result)
  outside = np.broadcast_to(~mask[:, None], traced.shape[:-1])
  want = np.broadcast_to(result[:, None], traced.shape)
  np.testing.assert_array_equal(traced[outside], want[outside])
  assert (traced[:, 0] != result).any()
  one = model.outpaint(0, image[0], right=4, label=0, trace=True)
  assert one.ndim == 4 and len(one) % steps == 0


def without_guidance(model):
  return dataclasses.replace(model.info.sampler, guidance=0)


def test_a_label_has_an_effect_and_may_be_left_out(model):
  image, mask = make_images(), np.ones((8, 8), bool)
  result = [
    np.asarray(
      model.edit(0, image, mask, label=label, sampler=without_guidance(model))
    )
    for label in (0, 1, None)
  ]
  assert (result[0] != result[1]).any()
  null = np.full(3, model.vocab.null_label)
  keys = samplers.example_keys(jax.random.key(0), np.arange(3))
  unguided = model.pipeline(without_guidance(model))
  np.testing.assert_array_equal(
    result[2], generate.sample_images(unguided, keys, null)
  )


@pytest.fixture(scope='module')
def plain(model):
  """A prior without classes."""
  return untrained(config(), classes=0, null_class=False)


def test_a_prior_without_classes_edits_too(plain):
  image, mask = make_images(), some_mask()
  result = np.asarray(plain.edit(0, image, mask))
  np.testing.assert_array_equal(result[~mask], (image / np.float32(255))[~mask])


MASK = np.ones((8, 8), bool)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'mask': np.ones((8, 9), bool)},
      r'bool \[8, 8\] or \[3, 8, 8\].*\(8, 9\)',
    ),
    ({'mask': np.ones((2, 8, 8), bool)}, r'bool \[8, 8\] or \[3, 8, 8\]'),
    ({'mask': np.ones((8, 8), np.uint8)}, 'mask must be bool .* got uint8'),
    (
      {'image': make_images()[..., :1]},
      r'red, green and blue; got .* 1\)',
    ),
    (
      {'image': np.zeros((8, 8, 4), np.uint8)},
      r'images must be .* or \[H, W, 3\]',
    ),
    ({'image': np.zeros((8, 8))}, r'got \(8, 8\)'),
    ({'image': np.zeros((0, 8, 8, 3))}, r'got \(0, 8, 8, 3\)'),
    (
      {'image': make_images() * 1.0, 'mask': ~MASK},
      r'must lie in \[0, 1\]; .* Divide by 255',
    ),
    ({'label': 3}, r'labels must lie in \[0, 3\); got 3'),
    ({'label': [0, 1]}, r'one class per image, \[3\]; got \(2,\)'),
    ({'dilate': -1}, 'dilate must be a whole number in .*; got -1'),
    ({'batch_size': 0}, 'batch_size must be a whole number of at least 1'),
    ({'sampler': 0.5}, 'sampler must be a MaskGITSampler'),
    (
      {'sampler': [samplers.MaskGITSampler()] * 2},
      r'each of the 1 level\(s\)',
    ),
    (
      {'sampler': samplers.AutoregressiveSampler()},
      'an AutoregressiveSampler cannot sample a MaskGIT',
    ),
  ],
)
def test_impossible_edits_are_refused(model, changes, message):
  with pytest.raises(ValueError, match=message):
    model.edit(
      0, **{'image': make_images(), 'mask': MASK, 'label': 0, **changes}
    )


def test_an_image_of_another_type_is_refused(model):
  with pytest.raises(TypeError, match='got int64'):
    model.edit(0, make_images().astype(np.int64), MASK, label=0)


@pytest.mark.parametrize(
  ('sides', 'message'),
  [
    ({}, 'numbers of pixels, not all 0'),
    ({'left': -1}, r'left must be a whole number in \[0, 16384\]; got -1'),
    ({'left': 1.5}, 'left must be a whole number'),
    ({'top': True}, 'top must be a whole number'),
    ({'bottom': 10**30}, 'bottom must be a whole number'),
  ],
)
def test_impossible_sides_are_refused(model, sides, message):
  with pytest.raises(ValueError, match=message):
    model.outpaint(0, make_images(), **sides, label=0)


@pytest.mark.parametrize(
  ('indices', 'known', 'message'),
  [
    (np.zeros((1, 4, 4), int), np.ones((1, 4, 3), bool), r'got bool \(1, 4, 3'),
    (np.zeros((1, 4, 4), int), np.ones((1, 4, 4), int), 'known must be bool'),
    (np.zeros((1, 4, 4), int),) * 2 + ('known must be bool',),
    (
      np.full((1, 4, 4), 16),
      np.ones((1, 4, 4), bool),
      r'must lie in \[0, 16\)',
    ),
    (np.zeros((1, 3, 4), int), np.ones((1, 3, 4), bool), 'needs 4 x 4 tokens'),
    (
      (np.zeros((1, 4, 4), int),) * 2,
      (np.ones((1, 4, 4), bool),) * 2,
      'has 1',
    ),
  ],
)
def test_impossible_completions_are_refused(model, indices, known, message):
  with pytest.raises(ValueError, match=message):
    model.complete(0, indices, known, label=0)


def test_without_a_null_class_a_label_is_needed(model, hierarchy):
  def without(model):
    vocab = dataclasses.replace(model.vocab, null_class=False)
    return dataclasses.replace(model, prior=model.prior.clone(vocab=vocab))

  for one in (
    without(model),
    dataclasses.replace(hierarchy, parent=without(hierarchy.parent)),
  ):
    with pytest.raises(ValueError, match='no null class.*give a label'):
      one.edit(0, make_images(), MASK)


def test_unsupported_models_are_refused(model, plain, hierarchy):
  alone = dataclasses.replace(model, prior=None)
  calls = {
    'edit': (make_images(), MASK),
    'complete': (np.zeros((1, 4, 4), int), np.zeros((1, 4, 4), bool)),
  }
  for name, arguments in calls.items():
    with pytest.raises(ValueError, match='an autoencoder without a prior'):
      getattr(alone, name)(0, *arguments)
    with pytest.raises(ValueError, match='has no classes; leave labels out'):
      getattr(plain, name)(0, *arguments, label=1)
  with pytest.raises(ValueError, match='an autoencoder without a prior'):
    alone.outpaint(0, make_images(), left=2)
  with pytest.raises(ValueError, match='level 0 of 2'):
    hierarchy.parent.edit(0, make_images(), MASK, label=0)


@pytest.mark.parametrize('size', [(6, 8), (8, 12)])
def test_a_hierarchy_edits_only_images_of_the_training_size(hierarchy, size):
  image, mask = make_images(*size), some_mask(*size)
  with pytest.raises(ValueError, match='8 x 8 pixels: the windows of a hier'):
    hierarchy.edit(0, image, mask, label=0)
  result = hierarchy.outpaint(0, make_images(5, 8), top=3, label=0)
  assert result.shape == (3, 8, 8, 3)


def test_a_vision_transformer_edits_no_larger_images(model):
  config = transformer.TransformerConfig(
    layers=1, width=8, heads=1, mlp_width=8
  )
  backbone = {'patch': 2, 'transformer': config}
  vit = autoencoders.VQVAE(
    encoder=autoencoders.ViTEncoder(**backbone),
    quantizer=quantizers.VectorQuantizer(codebook_size=16, code_dim=4),
    decoder=autoencoders.ViTDecoder(**backbone),
  )
  model = dataclasses.replace(model, autoencoder=vit)
  with pytest.raises(ValueError, match='embeddings beyond. Got 8 x 16'):
    model.outpaint(0, make_images(), right=7, label=0)
