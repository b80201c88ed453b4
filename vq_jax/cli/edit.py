"""`vqjax edit` and `vqjax outpaint`: redrawn parts of pictures, and more."""

import argparse
from collections.abc import Callable

from vq_jax.cli import sampling

_SIDES = ('left', 'right', 'top', 'bottom')


def add(commands, command: Callable) -> None:
  """Adds both commands to the parser; see `generate.add`."""
  parser = command(
    commands,
    'edit',
    'Redraw a part of a picture: a mask or a box.',
    edit,
  )
  _add_picture(parser)
  parser.add_argument(
    '--mask',
    metavar='FILE',
    help='a picture of the same size: what is white in it, or transparent, is '
    'redrawn, what is black stays',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--box',
    metavar='TOP,LEFT,HEIGHT,WIDTH',
    help='redraw this box, in pixels, instead of a mask',
    default=argparse.SUPPRESS,
  )
  _add_drawing(parser, 'edited.png', dilate=1)
  parser = command(
    commands,
    'outpaint',
    'Continue a picture beyond its sides, by any number of pixels.',
    outpaint,
  )
  _add_picture(parser)
  for side in _SIDES:
    parser.add_argument(
      f'--{side}', type=int, default=0, metavar='PIXELS', help='to be drawn'
    )
  _add_drawing(parser, 'outpainted.png', dilate=0)


def _add_picture(parser) -> None:
  parser.add_argument('folder', metavar='RUN', help='run folder of a prior')
  parser.add_argument(
    'image',
    metavar='IMAGE',
    help='an image file. A picture smaller than those the run was '
    'trained on is taken for the upper left part of one, a larger one is drawn '
    'in windows of that size',
  )


def _add_drawing(parser, out: str, *, dilate: int) -> None:
  parser.add_argument(
    '--label',
    help='class of the picture, by number from 0 or by name (name:7 for a '
    'class called 7; default: none, if the prior was trained for that)',
    default=argparse.SUPPRESS,
  )
  parser.add_argument('--num', type=int, default=1, help='how many versions')
  parser.add_argument('--seed', type=int, default=0, help='of the randomness')
  parser.add_argument(
    '--batch-size', type=int, default=100, help='versions made at a time'
  )
  parser.add_argument(
    '--dilate',
    type=int,
    default=dilate,
    help='redraw this many tokens around the masked ones too; pixels that are '
    'not masked stay as they are in any case',
  )
  sampling.add(parser)
  parser.add_argument(
    '--gif',
    metavar='FILE',
    help='also write how the picture takes shape; all versions are then made '
    'at a time',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--out',
    default=out,
    help='the picture to write: one version alone; several beside each other, '
    'after the original with grey for what is redrawn',
  )


def edit(arguments) -> None:
  """Runs `vqjax edit`."""
  import numpy as np

  model, image = _opened(arguments)
  mask = _mask(arguments, image.shape[:2])

  def draw(batch, **options):
    return model.edit(arguments.seed, batch, mask, **options)

  original = np.where(mask[..., None], np.uint8(128), image)
  _write(arguments, model, image, original, draw)


def outpaint(arguments) -> None:
  """Runs `vqjax outpaint`."""
  import numpy as np

  from vq_jax import checks

  sides = {side: getattr(arguments, side) for side in _SIDES}
  checks.checked_sides([sides[s] for s in ('top', 'bottom', 'left', 'right')])
  model, image = _opened(arguments)

  def draw(batch, **options):
    return model.outpaint(arguments.seed, batch, **sides, **options)

  around = (
    (sides['top'], sides['bottom']),
    (sides['left'], sides['right']),
    (0, 0),
  )
  original = np.pad(image, around, constant_values=128)
  _write(arguments, model, image, original, draw)


def _opened(arguments):
  """Returns the model and the picture, uint8 [H, W, C] with its channels."""
  import vq_jax
  from vq_jax import checks
  from vq_jax.data import decode

  checks.checked_num(arguments.num, '--num')
  model = vq_jax.load(arguments.folder)
  channels = model.config['data']['image_shape'][-1]
  sampling.check_files(arguments, channels)
  path = arguments.image
  return model, decode.decode_image(path, channels=channels, name=path)


def _mask(arguments, size):
  """Returns what is redrawn, bool [H, W]."""
  import numpy as np

  from vq_jax.data import decode

  height, width = size
  if ('mask' in arguments) == ('box' in arguments):
    raise ValueError('say what is redrawn: give either --mask or --box.')
  if 'mask' in arguments:
    mask = decode.decode_image(arguments.mask, channels=1, name=arguments.mask)
    if mask.shape[:2] != size:
      raise ValueError(
        f'{arguments.mask} must have the size of the picture, {height} x '
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
      f'--box must lie within the picture, {height} x {width} pixels; got '
      f'{tall} x {wide} from row {top}, column {left}.'
    )
  mask = np.zeros(size, bool)
  mask[top : top + tall, left : left + wide] = True
  return mask


def _write(arguments, model, image, original, draw) -> None:
  """Draws all versions and writes them, as they take shape with --gif."""
  import numpy as np

  from vq_jax.utils import images

  gif = 'gif' in arguments
  made = draw(
    np.repeat(image[None], arguments.num, axis=0),
    label=_label(arguments, model),
    dilate=arguments.dilate,
    batch_size=arguments.batch_size,
    trace=gif,
    **sampling.options_from(arguments),
  )
  steps = np.swapaxes(made, 0, 1) if gif else made[None]
  frames = [_laid_out(original, images.to_uint8(step)) for step in steps]
  if gif:
    images.save_animation(arguments.gif, np.stack(frames))
    print(f'{len(frames)} steps in {arguments.gif}')
  images.save_image(arguments.out, frames[-1], comment=arguments.command_line)
  count = f'{len(made)} images' if len(made) > 1 else '1 image'
  print(f'{count} in {arguments.out}')


def _label(arguments, model):
  """Returns the number of the class, or None."""
  from vq_jax import class_labels

  if 'label' not in arguments:
    return None
  if model.prior is not None and not model.vocab.num_classes:
    raise ValueError('this prior knows no classes; leave --label out.')
  names = model.config['data']['class_names']
  found = sampling.find_classes(arguments.label, names)
  if len(found) != 1:
    raise ValueError(f'--label must be one class; got {arguments.label!r}.')
  return int(class_labels.indices(found, len(names), names)[0])


def _laid_out(original, made):
  """One picture alone; several in a grid, after the original."""
  import numpy as np

  from vq_jax.utils import images

  if len(made) == 1:
    return made[0]
  return images.grid(np.concatenate([original[None], made]))
