"""`vqjax reconstruct`: images through an autoencoder."""

from collections.abc import Callable

import vq_jax
from vq_jax.inference import codec
from vq_jax.utils import images


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'reconstruct',
    'Encode and decode images: originals above, reconstructions below.',
    run,
    example='vqjax reconstruct fashion first.png second.jpg',
  )
  parser.add_argument('folder', metavar='RUN', help='The run folder.')
  parser.add_argument(
    'images', metavar='IMAGE', nargs='+', help='The image files.'
  )
  parser.add_argument(
    '--out', default='reconstructions.png', help='The image file to write.'
  )


def run(arguments) -> None:
  """Runs the command."""
  model = vq_jax.load(arguments.folder)
  channels = model.info.image_shape[-1]
  images.check_image_path(arguments.out, channels=channels)
  stride = model.autoencoder.stride
  pairs = []
  for path in arguments.images:
    image = codec.decode_image(path, channels)
    height, width = (size // stride * stride for size in image.shape[:2])
    if not height or not width:
      raise ValueError(f'{path} is smaller than {stride} x {stride} pixels.')
    image = image[None, :height, :width]
    both = images.stack_rows(image, model.reconstruct(image))
    pairs.append(images.grid(both, columns=1))
  images.save_image(
    arguments.out, images.hstack(pairs), comment=arguments.command_line
  )
  print(f'{images.count(len(pairs))} in {arguments.out}')
