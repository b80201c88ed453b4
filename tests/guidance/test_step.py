"""Laws of the optimisation, by a small guide and a small autoencoder."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.guidance import toys
from vq_jax import autoencoders
from vq_jax import features
from vq_jax import guidance
from vq_jax import losses
from vq_jax import quantizers
from vq_jax.layers import transformer_config as layers
from vq_jax.utils import images as images_lib

OPTIONS = guidance.GuidanceOptions(
  steps=6, num_cutouts=6, cutouts_at_once=6, augmentations='flip,noise'
)


@pytest.fixture(scope='module')
def model():
  return toys.make_model()


def prepare(model, key=0, prompt='a:2|b:-0.5', init='tokens', **changes):
  arguments = {
    name: changes.pop(name)
    for name in ('num', 'size', 'motion', 'phrase_steps', 'guides')
    if name in changes
  }
  guides = arguments.pop('guides', toys.make_guide())
  return model.prepare_dream(
    key,
    prompt,
    guides,
    init=init,
    options=dataclasses.replace(OPTIONS, **changes),
    **arguments,
  )


def take(dream, steps=None):
  """Returns the state after some steps, or all, and the losses of each."""
  state, losses = dream.start, []
  for step in range(dream.options.steps if steps is None else steps):
    state, values = dream.advance(state, step)
    losses.append(values)
  return state, losses


@pytest.fixture(scope='module')
def dream(model):
  """Two images with the plain options."""
  return prepare(model, num=2)


@pytest.fixture(scope='module')
def plain(dream):
  """The state after all steps, and the losses, with the plain options."""
  return take(dream)


def assert_same(a, b, atol=0.0):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, rtol=0, atol=atol)


def test_two_runs_are_equal_to_the_bit(model, plain):
  assert_same(take(prepare(model, num=2))[0], plain[0])


def test_the_loss_falls(model):
  _, losses = take(prepare(model, steps=40, learning_rate=0.05))
  totals = np.array([values['loss'] for values in losses])[:, 0]
  assert totals[-5:].mean() < totals[:5].mean() - 0.1


def test_cutouts_in_parts_give_the_same(model, dream):
  """4 and 2 of 6 cutouts, so that the last part is padded."""
  found, losses = take(prepare(model, num=2, cutouts_at_once=4), 2)
  want = take(dream, 2)
  assert_same(found.latents, want[0].latents, atol=2e-5)
  assert_same(losses[1]['prompts'], want[1][1]['prompts'], atol=1e-5)


def test_an_image_does_not_depend_on_the_others(model, plain):
  alone = take(prepare(model, num=1))[0]
  assert_same(alone.latents, plain[0].latents[:1], atol=1e-4)


def test_an_optimizer_with_norms_sees_one_image_at_a_time(model):
  both = take(prepare(model, num=2, optimizer='lamb'), 2)[0]
  alone = take(prepare(model, num=1, optimizer='lamb'), 2)[0]
  assert_same(alone.latents, both.latents[:1], atol=1e-4)


def test_memory_does_not_grow_with_the_steps(dream):
  state, counts = dream.start, []
  for step in range(20):
    state, values = dream.advance(state, step)
    jax.block_until_ready(values)
    counts.append(sum(x.nbytes for x in jax.live_arrays()))
  assert len(set(counts[1:])) == 1


def test_losses_of_prompts_add_up(plain):
  for values in plain[1]:
    assert values['prompts'].shape == (2, 1, 2)
    np.testing.assert_allclose(
      values['loss'], values['prompts'].sum(axis=(1, 2)), rtol=1e-5
    )


def test_several_guides_see_cutouts_of_their_own(model, plain):
  two = [toys.make_guide(8), toys.make_guide(12, seed=1)]
  _, losses = take(prepare(model, guides=two, num=2), 1)
  found, want = losses[0]['prompts'], plain[1][0]['prompts']
  assert found.shape == (2, 2, 2)
  assert_same(found[:, 0], want[:, 0], atol=1e-6)


def test_latents_stay_in_the_range_of_the_codes(model):
  dream = prepare(model, learning_rate=1.0)
  low, high = dream.networks.code_range
  state = take(dream)[0]
  assert (state.latents >= low).all() and (state.latents <= high).all()
  free = take(prepare(model, learning_rate=1.0, clamp=False))[0]
  assert (free.latents < low).any() or (free.latents > high).any()


def test_losses_of_the_image_hold_it_to_the_first(model):
  free = take(prepare(model, form='continuous'))[0]
  dream = prepare(model, form='continuous', init_weight=1e4)
  held, losses = take(dream)
  first = dream.start.first_image

  def distance(state):
    return jnp.square(dream.decode(state) - first).mean()

  assert distance(held) < 0.2 * distance(free)
  assert losses[0]['init'] == 0 and losses[-1]['init'] > 0


def test_lpips_holds_the_image_to_the_first(model, monkeypatch):
  lpips = losses.LPIPS(features.VGG16(channels=(4, 4, 4, 4, 4)))
  image = jnp.zeros((1, 16, 16, 3))
  variables = lpips.init(jax.random.key(0), image, image)
  monkeypatch.setattr(losses, 'load_lpips', lambda: (lpips, variables))
  dream = prepare(
    model,
    prompt='a:0',
    form='continuous',
    init_lpips_weight=2.0,
    learning_rate=0.02,
  )
  state, found = dream.start, []
  state = state.replace(latents=state.latents + 0.5)
  for step in range(6):
    want = 2 * lpips.apply(variables, state.first_image, dream.decode(state))
    state, values = dream.advance(state, step)
    found.append(float(values['init_lpips'][0]))
    np.testing.assert_allclose(found[-1], want[0], rtol=1e-3)
  assert found[-1] < found[0]


def test_images_are_spread_over_all_devices(model, plain):
  """As many images as devices: the same as two on one device."""
  dream = prepare(model, num=8)
  assert len(dream.start.latents.sharding.device_set) == 8
  state, values = take(dream)
  assert len(state.latents.sharding.device_set) == 8
  assert_same(state.latents[:2], plain[0].latents, atol=1e-4)
  assert values[0]['loss'].shape == (8,)


def test_total_variation_smooths(model):
  def variation(**changes):
    dream = prepare(model, form='continuous', steps=12, **changes)
    image = dream.decode(take(dream)[0])
    return guidance.losses.total_variation(image)[0]

  assert variation(tv_weight=1e4) < 0.7 * variation()


def test_the_average_of_the_latents_is_the_result(model):
  dream = prepare(model, ema_decay=0.5)
  state = dream.start
  want = state.latents
  for step in range(3):
    state, _ = dream.advance(state, step)
    want = 0.5 * want + 0.5 * state.latents
  assert_same(state.result, want, atol=1e-5)


def test_remat_changes_rounding_alone(model, dream):
  found = take(prepare(model, num=2, remat=True), 2)[0]
  assert_same(found.latents, take(dream, 2)[0].latents, 2e-5)


def test_a_story_changes_its_phrase_and_starts_over(model):
  dream = prepare(model, prompt='a ^ b:2 | c ^ d', phrase_steps=2, steps=8)
  assert [dream.phrase_at(step) for step in range(8)] == [
    0,
    0,
    1,
    1,
    2,
    2,
    0,
    0,
  ]
  _, losses = take(dream)
  padded = [values['prompts'][0, 0, 1] == 0 for values in losses]
  assert padded == [True, True, False, False, True, True, True, True]
  dream = prepare(model, prompt='a ^ b', steps=5)
  assert [dream.phrase_at(step) for step in range(5)] == [0, 0, 0, 1, 1]


def test_motion_moves_the_image_between_steps(model):
  motion = guidance.Motion(shift_x=0.5, every=2)
  dream = prepare(model, motion=motion, learning_rate=1e-6, clamp=False)
  before, _ = take(dream, 2)
  image = dream.decode(before)
  after, _ = dream.advance(before, 2)
  moved = motion(image)
  np.testing.assert_allclose(moved[:, :, 8:], image[:, :, :8], atol=1e-5)
  want = dream.encode_images(dream.networks.autoencoder, moved)
  np.testing.assert_allclose(after.latents, want, atol=1e-4)
  assert int(after.step) == 3
  still = guidance.Motion(every=3)
  assert not still and motion


def test_zoom_and_rotation():
  image = jnp.zeros((1, 9, 9, 3)).at[0, 4, 6].set(1.0)
  zoomed = guidance.Motion(zoom=2.0)(image)
  assert zoomed[0, 4, 8].min() > 0.9
  turned = guidance.Motion(rotate=90)(image)
  assert turned[0, 6, 4].min() > 0.9


@pytest.mark.parametrize('schedule', ['linear', 'cosine'])
def test_schedules_end_at_0(model, schedule):
  dream = prepare(model, schedule=schedule, optimizer='sgd', steps=4)
  state, _ = take(dream)
  again, _ = dream.advance(state, 4)
  assert_same(again.latents, state.latents)


def test_an_ae_and_greyscale_images_are_steered_too():
  ae = autoencoders.AE(
    encoder=autoencoders.PatchEncoder(channels=8, blocks=0),
    decoder=autoencoders.PatchDecoder(channels=8, blocks=0, out_channels=1),
    latent_dim=3,
  )
  model = toys.make_model(ae, channels=1)
  dream = prepare(model, init='noise', form='continuous')
  state, losses = take(dream, 3)
  assert dream.decode(state).shape == (1, 16, 16, 1)
  assert losses[2]['loss'] < losses[0]['loss'] + 1


VIT = {
  'patch': 4,
  'transformer': layers.TransformerConfig(
    layers=1, width=8, heads=2, mlp_width=8
  ),
}
PRESETS = {
  'vqgan': lambda quantizer: autoencoders.vqgan_taming(
    quantizer,
    channels=8,
    multipliers=(1, 2),
    blocks=1,
    attention_strides=(2,),
    z_channels=8,
    groups=4,
  ),
  'maskgit': lambda quantizer: autoencoders.maskgit_tokenizer(
    quantizer, channels=8, multipliers=(1, 2), blocks=1, groups=4
  ),
  'vit': lambda quantizer: autoencoders.VQVAE(
    encoder=autoencoders.ViTEncoder(**VIT),
    quantizer=quantizer,
    decoder=autoencoders.ViTDecoder(**VIT),
  ),
}


@pytest.mark.parametrize('name', PRESETS)
def test_every_kind_of_tokenizer_is_steered(name):
  quantizer = quantizers.VectorQuantizer(codebook_size=16, code_dim=8)
  dream = prepare(toys.make_model(PRESETS[name](quantizer)), init='noise')
  state, values = take(dream, 2)
  assert dream.decode(state).shape == (1, 16, 16, 3)
  assert np.isfinite(values[1]['loss']).all()
  moved = jnp.abs(state.latents - dream.start.latents)
  assert moved.max() > 1e-3


def test_size_and_first_image(model):
  image = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
  dream = prepare(model, size=(12, 20), init=image, num=2)
  np.testing.assert_allclose(
    dream.start.first_image[1], image / np.float32(255), atol=1e-6
  )
  assert dream.decode(dream.start).shape == (2, 12, 20, 3)
  with pytest.raises(ValueError, match='multiples of 4.*nearest size is 12 x'):
    prepare(model, size=(13, 20))
  with pytest.raises(ValueError, match='first images must be'):
    prepare(model, size=(12, 16), init=image)
  with pytest.raises(ValueError, match="init must be 'noise'"):
    prepare(model, init='sky')


def test_image_prompts(model, tmp_path):
  path = tmp_path / 'red.png'
  red = np.full((10, 20, 3), (255, 0, 0), np.uint8)
  images_lib.save_image(path, red)
  story = ((guidance.parse_prompt(f'{path}:2', image=True),),)
  found = prepare(model, prompt=story).phrases[0][0]
  assert found.weight.tolist() == [2.0]
  np.testing.assert_allclose(jnp.linalg.norm(found.embedding), 1, rtol=1e-5)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'optimizer': 'bfgs'}, "one of optax, such as adam, .* got 'bfgs'"),
    ({'optimizer': 'chain'}, 'one of optax'),
    ({'cutouts': 'holes'}, 'one of crops, pooled, overview'),
    ({'augmentations': 'melt'}, "got 'melt'"),
    ({'form': 'pixels'}, 'form must be'),
    ({'ema_decay': 1.0}, 'ema_decay must be'),
    ({'learning_rate': 0.0}, 'learning_rate must be'),
  ],
)
def test_bad_options_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(OPTIONS, **changes)


def test_the_result_of_the_method_is_that_of_the_steps(model, plain):
  seen = []
  images = model.dream(
    0,
    'a:2|b:-0.5',
    toys.make_guide(),
    num=2,
    init='tokens',
    options=OPTIONS,
    progress=lambda step, losses: seen.append(step),
  )
  assert seen == [1, 2, 3, 4, 5, 6]
  assert images.shape == (2, 16, 16, 3)
  assert_same(images, prepare(model, num=2).decode(plain[0]))
