"""Editing images: parts of them are sampled anew, the rest is kept.

An image is padded to whole tokens, at least to the size of the prior's grid.
Its masked pixels are filled from the known ones, so that their values have no
influence; the filled image is encoded once; the masked tokens are sampled, in
windows if the image is larger than the grid; and all tokens are decoded once.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import samplers
from vq_jax.inference import canvas as canvas_lib
from vq_jax.inference import codec
from vq_jax.inference import labels as labels_lib
from vq_jax.inference import masks
from vq_jax.inference import validate
from vq_jax.inference import windows
from vq_jax.inference.info import Pipeline
from vq_jax.inference.types import Array
from vq_jax.inference.types import Indices
from vq_jax.inference.types import Labels
from vq_jax.utils import fields
from vq_jax.utils import images as images_lib

_fill = jax.jit(masks.fill)
_composite = jax.jit(masks.composite, static_argnames='sigma')


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditOptions:
  """Options of editing; see `vq_jax.Model.edit`.

  Attributes:
    label: the classes [B], or one class for all, by number or by name; None is
      the null class.
    dilate: the number of tokens around the mask that are sampled too.
    keep_pixels: whether the pixels outside the mask stay as they are.
    batch_size: the number of images in a batch; `trace` makes one batch.
    trace: whether to return the images after all steps.

  Example:
    >>> from vq_jax.inference import edit
    >>> edit.EditOptions(label='cat', dilate=1).keep_pixels
    True
  """

  label: Labels = None
  dilate: Annotated[int, fields.Range(least=0, most=4096)] = 0
  keep_pixels: bool = True
  batch_size: fields.PositiveInt = 100
  trace: bool = False

  def __post_init__(self):
    fields.check(self)


def edit(
  pipeline: Pipeline,
  key: jax.Array | int,
  image: Array,
  mask: Array,
  options: EditOptions,
) -> jax.Array:
  """Samples the masked part of images anew; see `vq_jax.Model.edit`."""
  images = validate.to_float_batch(image, pipeline.info.image_shape[-1])
  known = ~validate.check_mask(mask, np.shape(image)[:-1])
  return _like(_edit(pipeline, key, images, known, options), image)


def outpaint(
  pipeline: Pipeline,
  key: jax.Array | int,
  image: Array,
  sides: tuple[int, int, int, int],
  options: EditOptions,
) -> jax.Array:
  """Extends images beyond their borders; see `vq_jax.Model.outpaint`.

  Args:
    pipeline: the model.
    key: JAX key, or a seed.
    image: [H, W, C] or [B, H, W, C].
    sides: the numbers of pixels to add at (top, bottom, left, right).
    options: the other options.
  """
  images = validate.to_float_batch(image, pipeline.info.image_shape[-1])
  top, bottom, left, right = validate.check_sides(sides)
  around = ((0, 0), (top, bottom), (left, right))
  known = np.pad(np.ones(images.shape[:3], bool), around)
  larger = np.pad(images, (*around, (0, 0)))
  edited = _edit(pipeline, key, larger, known, options, origin=(top, left))
  return _like(edited, image)


def complete(
  pipeline: Pipeline,
  key: jax.Array | int,
  indices: Indices,
  known: Indices,
  label: Labels = None,
) -> Indices:
  """Samples the unknown indices of images; see `vq_jax.Model.complete`."""
  levels = validate.check_levels(
    indices, known, pipeline.autoencoder.token_grids
  )
  for (part, _), shape in zip(levels, pipeline.grids, strict=True):
    canvas_lib.check_size(
      pipeline.autoencoder, part.shape[1:3], shape, 'tokens'
    )
  num = len(levels[0][0])
  labels = labels_lib.for_edit(label, num, pipeline)
  keys = samplers.example_keys(samplers.make_key(key), np.arange(num))
  parts: tuple[np.ndarray | jax.Array, ...] = tuple(part for part, _ in levels)
  for step in windows.sample_missing(pipeline, keys, levels, labels):
    parts = step
  sampled = tuple(jnp.asarray(part) for part in parts)
  return sampled if isinstance(indices, tuple | list) else sampled[0]


def _like(edited: np.ndarray, image: Array) -> jax.Array:
  """Returns one image for one, and a batch for a batch."""
  return jnp.asarray(edited[0] if np.ndim(image) == 3 else edited)


def _edit(
  pipeline: Pipeline,
  key: jax.Array | int,
  images: np.ndarray,
  known: np.ndarray,
  options: EditOptions,
  origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
  """Samples the unknown pixels, batch by batch.

  Args:
    pipeline: the model.
    key: JAX key, or a seed.
    images: float32 [B, H, W, C].
    known: bool [B, H, W].
    options: the options.
    origin: (top, left), a pixel at which a token should begin.

  Returns:
    float32 [B, H, W, C], or [B, T, H, W, C] with `options.trace`.
  """
  num = len(images)
  labels = labels_lib.for_edit(options.label, num, pipeline)
  images_lib.check_range(images, known)
  canvas = canvas_lib.make_canvas(pipeline, images.shape[1:3], origin)
  key = samplers.make_key(key)
  size = num if options.trace else min(options.batch_size, num)
  edited = []
  for start in range(0, num, size):
    index = np.arange(start, start + size)  # all of one size: one compilation
    rows = index % num
    frames = _edit_batch(
      pipeline,
      samplers.example_keys(key, index),
      images[rows],
      known[rows],
      None if labels is None else labels[rows],
      canvas,
      options,
    )
    edited.append(frames[: num - start])
  joined = np.concatenate(edited)
  return joined if options.trace else joined[:, 0]


def _edit_batch(
  pipeline: Pipeline,
  keys: jax.Array,
  images: np.ndarray,
  known: np.ndarray,
  labels: np.ndarray | None,
  canvas: canvas_lib.Canvas,
  options: EditOptions,
) -> np.ndarray:
  """Samples unknown pixels: float32 [B, T, H, W, C], T = 1 without trace."""
  if known.all():
    return images[:, None]
  height, width = images.shape[1:3]
  padding = canvas.padding(height, width)
  filled = _fill(np.pad(images, (*padding, (0, 0))), np.pad(known, padding))
  indices = _masked_indices(pipeline, filled, known, padding, options.dilate)
  steps = list(
    windows.sample_missing(pipeline, keys, indices, labels, options.trace)
  )
  top, left = canvas.corner
  stride = pipeline.autoencoder.token_grids[-1].stride
  complete = np.all(known, axis=(1, 2), keepdims=True)[..., None]

  def decode(parts):
    decoded = codec.decode_tokens(
      pipeline.autoencoder, pipeline.variables, codec.join(parts)
    )[:, top : top + height, left : left + width]
    if options.keep_pixels:
      decoded = _composite(images, decoded, known, sigma=stride / 2)
    return np.where(complete, images, decoded)

  shown = steps if options.trace else steps[-1:]
  return np.stack([decode(parts) for parts in shown], axis=1)


def _masked_indices(
  pipeline: Pipeline,
  filled: jax.Array,
  known: np.ndarray,
  padding: tuple,
  dilate: int,
) -> list[tuple[Array, np.ndarray]]:
  """Encodes filled images; returns for each level the indices and known ones.

  Args:
    pipeline: the model.
    filled: float32 [B, H', W', C], images on the canvas without holes.
    known: bool [B, H, W].
    padding: of the images to the canvas.
    dilate: see `EditOptions`.
  """
  parts = codec.encode_tokens(pipeline.autoencoder, pipeline.variables, filled)
  parts = parts if isinstance(parts, tuple) else (parts,)
  masked = np.pad(~known, padding)
  inside = np.pad(np.ones_like(known), padding)
  found = []
  for part, grid in zip(parts, pipeline.autoencoder.token_grids, strict=True):
    mask = masks.token_mask(masked, grid.stride, dilate)
    mask |= ~masks.token_mask(inside, grid.stride)
    mask = mask.reshape(*mask.shape, *(1,) * len(grid.index_shape))
    found.append((part, np.broadcast_to(~mask, part.shape)))
  return found
