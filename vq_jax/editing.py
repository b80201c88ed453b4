"""Redrawing parts of pictures: what `Model.edit` and its kin do.

A picture is laid on a canvas of whole tokens, at least as large as the prior's
grid. What is masked is filled from what is known, so that it has no part in the
result; the filled picture is encoded once; the tokens of the mask are drawn, in
windows if the canvas is larger than the grid; and the whole is decoded at once.

`model` is a `vq_jax.Model`.
"""

import dataclasses
import functools
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Annotated
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax import checks
from vq_jax import class_labels
from vq_jax import drawing
from vq_jax import samplers
from vq_jax.samplers import edit as edit_lib
from vq_jax.utils import fields
from vq_jax.utils import images as images_lib

Array = jax.Array | np.ndarray

_fill = jax.jit(edit_lib.fill)
_composite = jax.jit(edit_lib.composite, static_argnames='sigma')


@dataclasses.dataclass(frozen=True, kw_only=True)
class How:
  """What is asked for beside the pictures.

  Attributes:
    sampling: options of the sampler.
    label: classes [B], one class for all, or None, by number or by name.
    dilate: tokens around the mask that are redrawn too.
    keep_pixels: whether the pixels outside the mask stay as they are.
    batch_size: pictures made at a time; with trace all are.
    trace: whether a picture is shown as it takes shape.
  """

  sampling: Mapping[str, Any]
  label: Any = None
  dilate: Annotated[int, fields.Range(least=0, most=4096)] = 0
  keep_pixels: bool = True
  batch_size: fields.PositiveInt = 100
  trace: bool = False

  def __post_init__(self):
    fields.check(self)


def how(options: Mapping[str, Any]) -> How:
  """Tells the sampler's options from the others."""
  names = {field.name for field in dataclasses.fields(How)} - {
    'sampling',
    'keep_pixels',
  }
  own = {name: options[name] for name in names & options.keys()}
  return How(
    sampling={k: v for k, v in options.items() if k not in names}, **own
  )


def edit(
  model: Any, rng: jax.Array | int, image: Array, mask: Array, how: How
) -> jax.Array:
  """Redraws the masked part of pictures; see `Model.edit`."""
  channels = model.config['data']['image_shape'][-1]
  pictures = checks.checked_pictures(image, channels)
  known = ~checks.checked_mask(mask, np.shape(image)[:-1])
  return _as_given(_redraw(model, rng, pictures, known, how), image)


def outpaint(
  model: Any,
  rng: jax.Array | int,
  image: Array,
  sides: tuple[int, int, int, int],
  how: How,
) -> jax.Array:
  """Continues pictures beyond their sides; see `Model.outpaint`.

  Args:
    model: the model.
    rng: key, or a seed.
    image: [H, W, C] or [B, H, W, C].
    sides: pixels beyond (top, bottom, left, right).
    how: the rest.
  """
  channels = model.config['data']['image_shape'][-1]
  pictures = checks.checked_pictures(image, channels)
  top, bottom, left, right = checks.checked_sides(sides)
  around = ((0, 0), (top, bottom), (left, right))
  known = np.pad(np.ones(pictures.shape[:3], bool), around)
  larger = np.pad(pictures, (*around, (0, 0)))
  made = _redraw(model, rng, larger, known, how, (top, left))
  return _as_given(made, image)


def complete(
  model: Any,
  rng: jax.Array | int,
  indices: Array | Sequence[Array],
  known: Array | Sequence[Array],
  how: How,
) -> jax.Array | tuple[jax.Array, ...]:
  """Draws the indices that are not known; see `Model.complete`."""
  plan = _plan(model, how)
  levels = checks.checked_levels(indices, known, model.autoencoder.token_grids)
  for (part, _), shape in zip(levels, drawing.grids_of(model), strict=True):
    _check_size(model, part.shape[1:3], shape, 'codes')
  num = len(levels[0][0])
  labels = class_labels.for_edit(how.label, num, model)
  keys = samplers.example_keys(samplers.make_key(rng), np.arange(num))
  parts = tuple(part for part, _ in levels)
  for step in drawing.draw_missing(model, keys, levels, labels, plan):
    parts = step
  parts = tuple(jnp.asarray(part) for part in parts)
  return parts if isinstance(indices, tuple | list) else parts[0]


def _as_given(made, image):
  """One picture for one; a batch for a batch."""
  return jnp.asarray(made[0] if np.ndim(image) == 3 else made)


def _plan(model, how):
  """Returns how each level is sampled, if the model can redraw at all."""
  if model.prior is None:
    raise ValueError(
      'this run holds an autoencoder alone, which draws no codes. Load the run '
      'of a prior that was trained on its codes.'
    )
  checks.require_all_levels(model.config['card'], model.autoencoder)
  return drawing.plan_of(model, how.sampling)


def _redraw(model, rng, pictures, known, how, origin=(0, 0)):
  """Redraws what is not known, batch by batch: float32 [B, (T,) H, W, C].

  Args:
    model: the model.
    rng: key, or a seed.
    pictures: float32 [B, H, W, C].
    known: bool [B, H, W].
    how: the rest.
    origin: (top, left), a pixel at which a token should begin.
  """
  plan = _plan(model, how)
  num = len(pictures)
  labels = class_labels.for_edit(how.label, num, model)
  images_lib.check_range(pictures, known)
  canvas, before = _canvas(model, pictures.shape[1:3], origin)
  rng = samplers.make_key(rng)
  size = num if how.trace else min(how.batch_size, num)
  made = []
  for start in range(0, num, size):
    places = np.arange(start, start + size)  # always `size`: one compilation
    rows = places % num
    frames = _redraw_batch(
      model,
      samplers.example_keys(rng, places),
      (pictures[rows], known[rows], None if labels is None else labels[rows]),
      (canvas, before),
      plan,
      how,
    )
    made.append(frames[: num - start])
  made = np.concatenate(made)
  return made if how.trace else made[:, 0]


def _redraw_batch(model, keys, examples, layout, plan, how):
  """Redraws what is not known: float32 [B, T, H, W, C], T is 1 without trace.

  Args:
    model: the model.
    keys: [B].
    examples: (pictures, known, labels).
    layout: see `_canvas`.
    plan: how each level is sampled.
    how: the rest.
  """
  pictures, known, labels = examples
  if known.all():
    return pictures[:, None]
  (height, width), (top, left) = layout
  around = (
    (top, height - top - pictures.shape[1]),
    (left, width - left - pictures.shape[2]),
  )
  pad = functools.partial(np.pad, pad_width=((0, 0), *around))
  filled = _fill(np.pad(pictures, ((0, 0), *around, (0, 0))), pad(known))
  parts = drawing.encode(
    model.autoencoder, model.variables['autoencoder'], filled
  )
  grids = model.autoencoder.token_grids
  parts = parts if len(grids) > 1 else (parts,)
  masked, inside = pad(~known), pad(np.ones_like(known))
  levels = []
  for part, grid in zip(parts, grids, strict=True):
    redraw = edit_lib.token_mask(masked, grid.stride, how.dilate)
    redraw |= ~edit_lib.token_mask(inside, grid.stride)
    levels.append((part, _for_indices(~redraw, part.shape)))
  steps = list(
    drawing.draw_missing(model, keys, levels, labels, plan, how.trace)
  )

  def picture(indices):
    made = drawing.decode(
      model.autoencoder,
      model.variables['autoencoder'],
      indices if len(indices) > 1 else indices[0],
    )[:, top : top + pictures.shape[1], left : left + pictures.shape[2]]
    if how.keep_pixels:
      made = _composite(pictures, made, known, sigma=grids[-1].stride / 2)
    whole = known.all(axis=(1, 2), keepdims=True)
    return np.where(whole[..., None], pictures, made)

  shown = steps if how.trace else steps[-1:]
  return np.stack([picture(indices) for indices in shown], axis=1)


def _for_indices(mask, shape):
  """Spreads bool [B, h, w] over the indices of a latent: bool [B, h, w, *I]."""
  return np.broadcast_to(
    mask.reshape(*mask.shape, *(1,) * (len(shape) - 3)), shape
  )


def _canvas(model, size, origin):
  """Lays pictures on whole tokens, at least as many as the prior's grid has.

  A token begins at the origin, unless the picture fits into the grid only
  without.

  Args:
    model: the model.
    size: (H, W) of the pictures.
    origin: (top, left), a pixel of the pictures.

  Returns:
    (H', W') of the canvas, a multiple of the stride; where the picture begins.
  """
  stride = model.autoencoder.stride
  trained = model.config['data']['image_shape'][:2]
  canvas, before = [], []
  for part, start, usual in zip(size, origin, trained, strict=True):
    ahead = -start % stride
    if part <= usual < part + ahead:
      ahead = 0
    before.append(ahead)
    canvas.append(max(usual, -(-(part + ahead) // stride) * stride))
  if len(model.autoencoder.token_grids) > 1:
    _check_size(model, size, trained, 'pixels')
  _check_size(model, canvas, trained, 'pixels')
  return tuple(canvas), tuple(before)


def _check_size(model, size, trained, unit):
  """Raises ValueError unless a model can draw on a canvas of that size."""
  (h, w), (height, width) = size, trained
  if (h, w) == (height, width):
    return
  why = ''
  if len(model.autoencoder.token_grids) > 1:
    why = 'windows of a hierarchy of codes would not fit each other'
  elif h < height or w < width:
    why = 'the prior draws no less'
  elif _has_positions(model.autoencoder):
    why = 'its transformer towers have learned no positions beyond'
  if why:
    raise ValueError(
      f'this run needs {height} x {width} {unit}: {why}. Got {h} x {w}; crop, '
      'resize or pad.'
    )


def _has_positions(autoencoder):
  kinds = (autoencoders.ViTEncoder, autoencoders.ViTDecoder)
  return any(
    isinstance(getattr(autoencoder, name, None), kinds)
    for name in ('encoder', 'decoder')
  )
