"""The buttons compute what the methods of the model do."""

import dataclasses
import threading

import jax
import numpy as np
import pytest

import vq_jax
from tests.demo import images
from vq_jax.demo import actions
from vq_jax.demo import inputs
from vq_jax.demo import programs
from vq_jax.demo import views
from vq_jax.utils import images as images_lib

SETTINGS = actions.Settings(
  label=1, num=2, steps=3, guidance=1.0, order='halton', trace=True
)


@pytest.fixture(scope='module')
def model(maskgit):
  return vq_jax.load(maskgit)


def test_samples_are_those_of_the_model(model):
  steps = actions.sample(model, SETTINGS)
  sampler = dataclasses.replace(
    model.info.sampler, **SETTINGS.sampler_options()
  )
  wanted = model.generate(0, labels=[1, 1], sampler=sampler)
  assert len(steps) == 3
  np.testing.assert_array_equal(steps[-1], images_lib.to_uint8(wanted))
  (grid,) = images.shown(views.sampled(steps), 'result')
  np.testing.assert_array_equal(grid, images_lib.grid(steps[-1])[..., 0])


def test_edits_keep_the_other_pixels(model):
  image = actions.sample(model, actions.for_one_image(SETTINGS))[-1, 0]
  mask = np.zeros(image.shape[:2], bool)
  mask[4:, 2:] = True
  painting = inputs.Painting(image=image, mask=mask)
  steps = actions.inpaint(model, painting, SETTINGS)
  assert steps.shape == (3, 2, *image.shape)
  assert (steps[:, :, ~mask] == image[~mask]).all()
  assert (steps[-1, 0] != steps[-1, 1]).any()
  sides = {'left': 0, 'right': 4, 'top': 4, 'bottom': 0}
  last = dataclasses.replace(SETTINGS, trace=False)
  (larger,) = actions.outpaint(model, painting, sides, last)
  assert larger.shape == (2, 12, 12, 1)
  assert (larger[:, 4:, :8] == image).all()


def test_bad_edits_are_refused(model):
  image = np.zeros((8, 8, 1), np.uint8)
  painting = inputs.Painting(image=image, mask=np.zeros((8, 8), bool))
  with pytest.raises(ValueError, match='paint over'):
    actions.inpaint(model, painting, SETTINGS)
  for sides in ({'left': 9}, {'left': 0}):
    with pytest.raises(ValueError, match='left'):
      actions.outpaint(model, painting, sides, SETTINGS)
  for wrong in ({'num': 17}, {'steps': 65}, {'order': 'x'}, {'seed': -1}):
    with pytest.raises(ValueError, match=f'{[*wrong][0]} must be'):
      actions.Settings(**wrong)


def test_reconstructions_show_the_tokens_of_the_model(model):
  image = np.random.default_rng(0).integers(0, 256, (8, 8, 1), np.uint8)
  found = actions.reconstruct(model, image)
  np.testing.assert_array_equal(
    found.decoded, images_lib.to_uint8(model.reconstruct(image[None]))[0]
  )
  (tokens,) = found.maps
  np.testing.assert_array_equal(tokens.indices, model.encode(image[None])[0])
  used = np.unique(tokens.indices)
  assert tokens.used == len(used)
  assert 1 <= tokens.perplexity <= tokens.used + 1e-3
  html = views.reconstruction(found)
  for index in used:
    assert f'>{index}</text>' in html
  cells = views.usage_map(tokens).reshape(-1, 3)
  np.testing.assert_array_equal(cells[used], views.colors(used))
  others = np.setdiff1d(np.arange(tokens.codebook_size), used)
  assert (cells[others] == 238).all()


def test_guidance_needs_the_class_no_class(model):
  assert actions.has_guidance(model)
  vocab = dataclasses.replace(model.vocab, null_class=False)
  without = dataclasses.replace(model, prior=model.prior.clone(vocab=vocab))
  assert not actions.has_guidance(without)
  (sampler,) = actions.make_samplers(without, SETTINGS)
  assert sampler.guidance == model.info.sampler.guidance
  assert sampler.steps == SETTINGS.steps


def test_names_of_models_are_text():
  html = views.columns([('<b>one', '1'), ('two', '2')])
  assert '&lt;b&gt;one' in html and '<b>' not in html


def test_programs_run_one_by_one_and_are_dropped(monkeypatch):
  dropped = []
  monkeypatch.setattr(jax, 'clear_caches', lambda: dropped.append(1))
  bounded = programs.Programs(most=2)
  for kind in (1, 2, 1, 2, 1):
    with bounded.running(kind):
      pass
  assert not dropped
  with bounded.running(3):
    other = threading.Thread(
      target=lambda: bounded.running(3).__enter__(), daemon=True
    )
    other.start()
    other.join(0.05)
    assert other.is_alive()
  other.join(10)
  assert not other.is_alive() and len(dropped) == 1
