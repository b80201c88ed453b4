"""From tokens to pictures: drawing the codes of all levels, and decoding them.

`model` is a `vq_jax.Model`.
"""

import functools
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax import checks
from vq_jax import generation
from vq_jax import latent_space
from vq_jax import samplers
from vq_jax.samplers import edit

Array = jax.Array | np.ndarray


@functools.partial(jax.jit, static_argnames='autoencoder')
def encode(autoencoder, variables, images):
  """Encodes images to indices, a tuple of them if there are several grids."""
  return autoencoder.apply(variables, images, method='encode').indices


@functools.partial(jax.jit, static_argnames='autoencoder')
def decode(autoencoder, variables, indices):
  """Decodes what `encode` gives to float32 images in [0, 1]."""
  image = autoencoder.apply(variables, indices, method='decode_indices')
  return jnp.clip(image, 0, 1)


def plan_of(model: Any, options: dict) -> tuple[samplers.Sampler, ...]:
  """Returns how each level is sampled, coarsest first.

  Raises:
    ValueError: if an option does not suit a prior.
  """
  coarser = plan_of(model.coarser, options) if model.coarser else ()
  card = dict(model.config['card'].get('sampler', {}))
  if not model.vocab.num_classes:
    card.pop('guidance', None)
  sampler = samplers.sampler_for(model.prior, card)
  return (*coarser, samplers.with_options(sampler, options))


def draw_levels(
  model: Any,
  keys: jax.Array,
  labels: Array | None,
  plan: Sequence[samplers.Sampler],
  given: Sequence[tuple[Array, Array]] | None = None,
  trace: bool = False,
) -> tuple[jax.Array, ...]:
  """Returns the tokens of all levels up to a prior's, coarsest first.

  Args:
    model: a prior, with the coarser ones in it.
    keys: [B], one per example.
    labels: int32 [B], or None for a prior without classes.
    plan: how each level is sampled.
    given: of each level tokens int32 [B, N], and bool [B, N] where they stay;
      None if all are drawn.
    trace: whether the last level shows all steps, if it is a MaskGIT's.

  Returns:
    int32 [B, N] of each level; the last is [B, T, N] with trace.
  """
  coarser = ()
  if model.coarser is not None:
    before = None if given is None else given[:-1]
    coarser = draw_levels(model.coarser, keys, labels, plan[:-1], before)
  empty = jnp.zeros((len(keys), model.prior.num_tokens), jnp.int32)
  tokens, known = given[-1] if given else (empty, empty.astype(bool))
  drawn = generation.sample_tokens(
    plan[-1],
    samplers.fold_in(keys, len(coarser)),
    model.prior,
    model.variables['prior'],
    tokens,
    known,
    labels if model.vocab.num_classes else None,
    coarser[-1] if coarser else None,
    critic=model.critic,
    critic_variables=model.variables.get('critic'),
    trace=trace,
  )
  samplers.require_valid(drawn)
  return (*coarser, drawn)


def draw_images(
  model: Any,
  keys: jax.Array,
  labels: Array | None,
  plan: Sequence[samplers.Sampler],
  trace: bool,
) -> jax.Array:
  """Draws an image for each key, as it takes shape if `trace`."""
  levels = draw_levels(model, keys, labels, plan, trace=trace)
  if not trace:
    return _decode_tokens(model, levels)
  *coarser, steps = levels
  decided = np.ones(steps.shape[1:], bool)
  if samplers.is_causal(model.prior):
    decided = samplers.autoregressive.decided_rows(model.prior.grid)
  frames = [
    _decode_tokens(model, (*coarser, steps[:, t]), row)
    for t, row in enumerate(decided)
  ]
  return jnp.stack(frames, axis=1)


def draw_without_prior(
  model: Any,
  rng: jax.Array,
  labels: Array | None,
  num: int | None,
  sampling: dict,
) -> np.ndarray:
  """Decodes draws from N(0, I), which the latents of a VAE follow.

  Raises:
    ValueError: if the model is no VAE, or something is asked for that it
      cannot.
  """
  if not isinstance(model.autoencoder, autoencoders.VAE):
    raise ValueError(
      'this run holds an autoencoder alone, which cannot generate. Load the '
      'run of a prior that was trained on its codes; for an AE, fit a '
      'mixture to its latents (vq_jax.latent_space).'
    )
  if labels is not None:
    raise ValueError('a VAE knows no classes; leave labels out.')
  if sampling:
    raise ValueError(
      f'a VAE has no sampling options; leave {", ".join(sampling)} out.'
    )
  num = checks.checked_num(16 if num is None else num)
  z = jax.random.normal(rng, (num, *latent_space.latent_shape(model)))
  return latent_space.decode(model, z)


def _decode_tokens(model, levels, decided=None):
  """Decodes the tokens of all levels; grey where they are not decided."""
  height, width, _ = model.config['data']['image_shape']
  indices = tuple(
    tokens.reshape(len(tokens), *grid.shape(height, width))
    for tokens, grid in zip(levels, model.autoencoder.token_grids, strict=True)
  )
  image = decode(
    model.autoencoder,
    model.variables['autoencoder'],
    indices if len(indices) > 1 else indices[0],
  )
  if decided is None or decided.all():
    return image
  seen = jax.image.resize(
    jnp.asarray(decided, jnp.float32).reshape(model.prior.grid),
    image.shape[1:3],
    'nearest',
  )
  return jnp.where(jnp.expand_dims(seen, (0, 3)) > 0, image, 0.5)


def grids_of(model):
  """Returns (h, w) of each level's latents at the training size."""
  height, width, _ = model.config['data']['image_shape']
  grids = model.autoencoder.token_grids
  return [grid.shape(height, width)[:2] for grid in grids]


def draw_missing(
  model, keys, levels, labels, plan, trace=False
) -> Iterator[tuple[np.ndarray, ...]]:
  """Draws what is not known, window by window.

  Args:
    model: the model.
    keys: [B].
    levels: indices int32 [B, h, w, *I] and bool of that shape, coarsest first.
    labels: int32 [B] or None.
    plan: how each level is sampled.
    trace: whether all steps are yielded: those of a MaskGIT, otherwise rows.

  Yields:
    the indices of all levels after each window, the last with all known.
  """
  parts = [np.array(part) for part, _ in levels]
  known = [np.array(given) for _, given in levels]
  missing = ~known[-1].reshape(*known[-1].shape[:3], -1).all(axis=-1)
  if len(levels) > 1:
    whole = all(given.all() for given in known)
    corners = np.zeros((0 if whole else 1, len(keys), 2), int)
  else:
    corners = _corners(missing, grids_of(model)[-1])
  for number, corner in enumerate(corners):
    places = [_place(corner, shape) for shape in grids_of(model)]
    given = [
      tuple(x[place].reshape(len(keys), -1) for x in (part, mask))
      for part, mask, place in zip(parts, known, places, strict=True)
    ]
    *coarser, last = draw_levels(
      model,
      samplers.fold_in(keys, number) if number else keys,
      labels,
      plan,
      given,
      trace,
    )
    for part, place, tokens in zip(parts, places, coarser, strict=False):
      part[place] = np.asarray(tokens).reshape(part[place].shape)
    for tokens in np.swapaxes(last, 0, 1) if trace else [np.asarray(last)]:
      parts[-1][places[-1]] = tokens.reshape(parts[-1][places[-1]].shape)
      yield tuple(part.copy() for part in parts)
    for mask, place in zip(known, places, strict=True):
      mask[place] = True


def _corners(missing, window):
  """Returns where each example's windows lie, int [K, B, 2].

  What an example's windows are depends on it alone. One that needs fewer than
  others has its last again, in which nothing is missing then.
  """
  places = [edit.windows(redraw, window) for redraw in missing]
  count = max(map(len, places), default=0)
  filled = [part + (part[-1:] or [(0, 0)]) * count for part in places]
  return np.array([part[:count] for part in filled], int).swapaxes(0, 1)


def _place(corner, window):
  """Returns what indexes [B, h, w, ...] by a window for each example."""
  rows, columns = (
    corner[:, axis, None] + np.arange(size) for axis, size in enumerate(window)
  )
  return (
    np.arange(len(corner))[:, None, None],
    rows[:, :, None],
    columns[:, None],
  )
