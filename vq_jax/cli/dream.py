"""`vqjax dream`: images from text, by optimising the latents of a tokenizer."""

import argparse
import pathlib
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import jax
import numpy as np

import vq_jax
from vq_jax import guidance
from vq_jax.cli import dream_inputs
from vq_jax.cli import flags
from vq_jax.guidance import guides as guides_lib
from vq_jax.inference import dream as dream_lib
from vq_jax.utils import images
from vq_jax.utils import video
from vq_jax.workflows import dream as dream_workflow


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'dream',
    'Make images of a text by optimising the latents of a model (VQGAN+CLIP).',
    run,
    example='vqjax dream runs/vqgan --clip ViT-B/32 '
    '--prompt "a forest:2 | fog:-0.5" --size 256x384',
  )
  parser.add_argument(
    'folder', metavar='RUN', help='The run folder of any model.'
  )
  _add_guides(parser)
  _add_images(parser)
  group = parser.add_argument_group('options of the optimisation')
  flags.add_fields(group, guidance.GuidanceOptions)
  group = parser.add_argument_group('motion of the camera between steps')
  flags.add_fields(group, guidance.Motion, prefix='move-')
  _add_files(parser)


def _add_guides(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--prompt',
    help='What the images should show: prompts "text:weight:stop", of which '
    'weight and stop may be missing, are separated by |, and the phrases of a '
    'story by ^. A negative weight leads away from a prompt.',
    default='',
  )
  parser.add_argument(
    '--image-prompt',
    action='append',
    metavar='FILE',
    help='An image that the images should resemble, as "FILE:weight:stop"; it '
    'belongs to all phrases. The flag may be repeated.',
    default=[],
  )
  parser.add_argument(
    '--clip',
    action='append',
    metavar='FILE',
    help='The weights of a CLIP: a file of OpenAI, open_clip or Hugging Face, '
    'the folder of one, or a name such as ViT-B/32. The flag may be repeated; '
    'the losses of several are added.',
    default=[],
  )
  parser.add_argument(
    '--guide',
    action='append',
    choices=guides_lib.NAMES,
    help='A guide other than a CLIP. classifier-text knows the classes of '
    'ImageNet and the similarity of their names to the prompt.',
    default=[],
  )


def _add_images(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--size',
    metavar='HEIGHTxWIDTH',
    help='The size of the images, such as 256x384; by default that of the '
    'training images.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--num', type=int, default=1, help='The number of images.'
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='The seed of the random numbers.'
  )
  parser.add_argument(
    '--init',
    metavar='FILE',
    help='The first image: noise, tokens (random ones), prior (a sample of the '
    'prior), or an image file.',
    default='noise',
  )
  parser.add_argument(
    '--phrase-steps',
    type=int,
    help='The number of steps of each phrase of a story, which then starts '
    'over; by default all phrases together take all steps.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--frames',
    metavar='FOLDER',
    help='A folder of image files, each of which is optimised in turn from a '
    'mixture with the result before it: a text gives a film its style.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--frame-mix',
    type=float,
    default=0.5,
    help='The share of the result before in the first image of a frame.',
  )


def _add_files(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--save-every',
    type=int,
    default=10,
    help='The number of steps from one frame of the film, preview and saved '
    'state to the next.',
  )
  parser.add_argument(
    '--video',
    metavar='FILE',
    help='A film of the optimisation to write, such as .mp4, .gif or .webp.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--fps', type=float, default=15.0, help='Frames per second of the film.'
  )
  parser.add_argument(
    '--resume',
    action='store_true',
    help='Go on where the same command was stopped, or with more --steps.',
  )
  parser.add_argument(
    '--out',
    default='dream.png',
    help='The image file to write; it is a preview while the command runs. The '
    'state and the frames are kept in a folder of the same name with the '
    'suffix .run.',
  )


def run(arguments) -> None:
  """Runs the command."""
  size = dream_inputs.parse_size(arguments)
  story = dream_inputs.parse_prompts(arguments)
  options = guidance.GuidanceOptions(
    **flags.get_fields(arguments, guidance.GuidanceOptions)
  )
  motion = guidance.Motion(
    **flags.get_fields(arguments, guidance.Motion, prefix='move_')
  )
  dream_inputs.check(arguments)
  model = vq_jax.load(arguments.folder)
  images.check_image_path(arguments.out, channels=model.info.image_shape[-1])
  if 'video' in arguments:
    video.check_path(arguments.video, channels=model.info.image_shape[-1])
  guides = [guides_lib.load_clip_guide(path) for path in arguments.clip]
  guides += [guides_lib.load_guide(name) for name in arguments.guide]

  def prepare(init) -> dream_lib.Dream:
    return model.prepare_dream(
      arguments.seed,
      story,
      guides,
      num=arguments.num,
      size=size,
      init=init,
      options=options,
      motion=motion,
      phrase_steps=getattr(arguments, 'phrase_steps', None),
    )

  shape = (*(size or model.info.image_shape[:2]), model.info.image_shape[-1])
  sources = dream_inputs.find_frames(arguments)
  out = pathlib.Path(arguments.out)
  recording = dream_workflow.Recording(
    folder=out.with_suffix('.run'),
    out=out,
    settings=dream_inputs.describe(arguments, story, options, motion),
    steps=options.steps,
    save_every=arguments.save_every,
  )
  if not sources:
    init = dream_inputs.read_init(arguments.init, model, shape, arguments)
    dream = prepare(init)
  # Only now, since it removes a finished run.
  dream_workflow.begin(recording, resume=arguments.resume)
  for line in dream_inputs.describe_story(story):
    print(f'prompt: {line}')
  with _Bar(options.steps * max(1, len(sources)), story) as bar:
    if sources:
      dream_workflow.style_frames(
        recording, sources, prepare, shape, arguments.frame_mix, bar.report
      )
    else:
      dream_workflow.optimize(recording, dream, bar.report)
  print(f'{images.count(arguments.num)} in {arguments.out}')
  if 'video' in arguments:
    video.write(arguments.video, recording.read_frames(), fps=arguments.fps)
    print(f'{len(recording.frames)} frames in {arguments.video}')


class _Bar:
  """A progress bar with the loss of each prompt."""

  def __init__(self, total: int, story: Sequence[Sequence[guidance.Prompt]]):
    import tqdm

    self._bar = tqdm.tqdm(total=total, unit=' steps', disable=None)
    self._story = story
    self._shown = 0.0

  def __enter__(self) -> '_Bar':
    return self

  def __exit__(self, *error) -> None:
    self._bar.close()

  def report(
    self, step: int, phrase: int, losses: Mapping[str, jax.Array]
  ) -> None:
    """Advances to a step; the losses are read about once a second."""
    self._bar.update(step - self._bar.n)
    if time.monotonic() - self._shown < 1 or self._bar.disable:
      return
    self._shown = time.monotonic()
    parts = np.asarray(losses['prompts']).mean(axis=0).sum(axis=0)
    names = [str(prompt)[:20] for prompt in self._story[phrase]]
    shown = zip(names, parts, strict=False)  # shorter phrases are padded
    text = ', '.join(f'{name} {value:.3f}' for name, value in shown)
    self._bar.set_postfix_str(text)
