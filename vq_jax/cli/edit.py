"""`vqjax edit` and `vqjax outpaint`: parts of images, sampled anew."""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

import vq_jax
from vq_jax.cli import sampling
from vq_jax.inference import codec
from vq_jax.inference import labels as labels_lib
from vq_jax.inference import validate
from vq_jax.utils import images

_GREY = 128  # of the pixels that are sampled, in the original
_SIDES = ('left', 'right', 'top', 'bottom')


def add(commands, command: Callable) -> None:
  """Adds both commands to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'edit',
    'Sample a part of an image anew, given by a mask or a box.',
    run_edit,
    example='vqjax edit fashion shirt.png --box 14,0,14,28 --label Shirt',
  )
  _add_image(parser)
  parser.add_argument(
    '--mask',
    metavar='FILE',
    help='An image of the same size: its white or transparent parts are '
    'sampled anew, its black parts stay.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--box',
    metavar='TOP,LEFT,HEIGHT,WIDTH',
    help='A box in pixels that is sampled anew, instead of a mask.',
    default=argparse.SUPPRESS,
  )
  _add_options(parser, 'edited.png', dilate=1)
  parser = command(
    commands,
    'outpaint',
    'Extend an image beyond its borders, by any number of pixels.',
    run_outpaint,
    example='vqjax outpaint fashion shirt.png --right 28 --num 4',
  )
  _add_image(parser)
  for side in _SIDES:
    parser.add_argument(
      f'--{side}',
      type=int,
      default=0,
      metavar='PIXELS',
      help='The number of pixels to add at this side.',
    )
  _add_options(parser, 'outpainted.png', dilate=0)


def _add_image(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    'folder', metavar='RUN', help='The run folder of a prior.'
  )
  parser.add_argument(
    'image',
    metavar='IMAGE',
    help='The image file. An image that is smaller than those of the training '
    'is used as the upper left part of one; a larger one is sampled in windows '
    'of that size.',
  )


def _add_options(
  parser: argparse.ArgumentParser, out: str, *, dilate: int
) -> None:
  parser.add_argument(
    '--label',
    help='The class of the image, by number from 0 or by name; name:7 is the '
    'class that is called 7. By default it is the null class, which the prior '
    'must have.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--num', type=int, default=1, help='The number of versions.'
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='The seed of the random numbers.'
  )
  parser.add_argument(
    '--batch-size',
    type=int,
    default=100,
    help='The number of versions in a batch.',
  )
  parser.add_argument(
    '--dilate',
    type=int,
    default=dilate,
    help='The number of tokens around the mask that are sampled too. Pixels '
    'that are not masked stay as they are in any case.',
  )
  sampling.add(parser)
  parser.add_argument(
    '--gif',
    metavar='FILE',
    help='An animation to write, with the image after each step. All versions '
    'are then in one batch.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--out',
    default=out,
    help='The image file to write. Several versions are a grid, after the '
    'original in which the sampled part is grey.',
  )


def run_edit(arguments) -> None:
  """Runs `vqjax edit`."""
  model, image = _open(arguments)
  mask = _find_mask(arguments, image.shape[:2])

  def sample(batch, **options):
    return model.edit(arguments.seed, batch, mask, **options)

  original = np.where(mask[..., None], np.uint8(_GREY), image)
  _write(arguments, model, image, original, sample)


def run_outpaint(arguments) -> None:
  """Runs `vqjax outpaint`."""
  sides = {side: getattr(arguments, side) for side in _SIDES}
  top, bottom, left, right = validate.check_sides(
    [sides[side] for side in ('top', 'bottom', 'left', 'right')]
  )
  model, image = _open(arguments)

  def sample(batch, **options):
    return model.outpaint(arguments.seed, batch, **sides, **options)

  around = ((top, bottom), (left, right), (0, 0))
  original = np.pad(image, around, constant_values=_GREY)
  _write(arguments, model, image, original, sample)


def _open(arguments) -> tuple[vq_jax.Model, np.ndarray]:
  """Returns the model, and the image uint8 [H, W, C] with its channels."""
  validate.check_num(arguments.num, '--num')
  model = vq_jax.load(arguments.folder)
  channels = model.info.image_shape[-1]
  sampling.check_files(arguments, channels)
  return model, codec.decode_image(arguments.image, channels)


def _find_mask(arguments, size: tuple[int, int]) -> np.ndarray:
  """Returns the mask: bool [H, W]."""
  height, width = size
  if ('mask' in arguments) == ('box' in arguments):
    raise ValueError('give either --mask or --box, the part to sample anew.')
  if 'mask' in arguments:
    mask = codec.decode_image(arguments.mask, 1)
    if mask.shape[:2] != size:
      raise ValueError(
        f'{arguments.mask} must have the size of the image, {height} x '
        f'{width} pixels; got {mask.shape[0]} x {mask.shape[1]}.'
      )
    return mask[..., 0] > 127
  try:
    top, left, tall, wide = map(int, arguments.box.split(','))
  except ValueError as error:
    raise ValueError(
      '--box takes four whole numbers, such as 8,4,16,16: top, left, height, '
      f'width; got {arguments.box}.'
    ) from error
  inside = top >= 0 and left >= 0 and tall > 0 and wide > 0
  if not inside or top + tall > height or left + wide > width:
    raise ValueError(
      f'--box must lie within the image, {height} x {width} pixels; got '
      f'{tall} x {wide} from row {top}, column {left}.'
    )
  mask = np.zeros(size, bool)
  mask[top : top + tall, left : left + wide] = True
  return mask


def _write(
  arguments,
  model: vq_jax.Model,
  image: np.ndarray,
  original: np.ndarray,
  sample: Callable[..., Any],
) -> None:
  """Samples all versions and writes them, with all steps for --gif."""
  gif = 'gif' in arguments
  edited = sample(
    np.repeat(image[None], arguments.num, axis=0),
    label=_find_label(arguments, model),
    sampler=sampling.samplers_from(arguments, model),
    dilate=arguments.dilate,
    batch_size=arguments.batch_size,
    trace=gif,
  )
  steps = np.swapaxes(edited, 0, 1) if gif else edited[None]
  frames = [_make_grid(original, images.to_uint8(step)) for step in steps]
  if gif:
    images.save_animation(arguments.gif, np.stack(frames))
    print(f'{len(frames)} steps in {arguments.gif}')
  images.save_image(arguments.out, frames[-1], comment=arguments.command_line)
  print(f'{images.count(len(edited))} in {arguments.out}')


def _find_label(arguments, model: vq_jax.Model) -> int | None:
  """Returns the number of the class, or None if none was given."""
  if 'label' not in arguments:
    return None
  if model.vocab is not None and not model.vocab.num_classes:
    raise ValueError('this prior has no classes; leave --label out.')
  names = model.info.class_names
  found = sampling.find_classes(arguments.label, names)
  if len(found) != 1:
    raise ValueError(f'--label must be one class; got {arguments.label!r}.')
  return int(labels_lib.class_indices(found, len(names), names)[0])


def _make_grid(original: np.ndarray, edited: np.ndarray) -> np.ndarray:
  """Returns one version alone, or a grid of several after the original."""
  if len(edited) == 1:
    return edited[0]
  return images.grid(np.concatenate([original[None], edited]))
