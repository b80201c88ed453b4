"""The options of guided optimisation."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated
from typing import Literal

import optax

from vq_jax.guidance import augmentations as augmentations_lib
from vq_jax.guidance import cutouts as cutouts_lib
from vq_jax.guidance import latents as latents_lib
from vq_jax.utils import fields

_Steps = Annotated[int, fields.Range(least=1, most=10**6)]
_Cutouts = Annotated[int, fields.Range(least=1, most=2**16)]
_Decay = Annotated[float, fields.Range(least=0, most=0.9999)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuidanceOptions:
  """The options of VQGAN+CLIP (https://arxiv.org/abs/2204.08583).

  The defaults are those of the authors' repository, EleutherAI/vqgan-clip.

  Attributes:
    steps: The number of steps; the paper has 400.
    learning_rate: The learning rate; the paper has 0.15.
    optimizer: The name of an optimizer of optax, such as adam, adamw, adagrad,
      radam or rmsprop.
    schedule: The course of the learning rate, constant, or linear or cosine
      down to 0.
    form: What is optimised: latents that are quantized in each step
      (quantized), latents that are not (continuous), or logits over the codes
      (logits).
    clamp: Whether latents are kept in the range of the codes, per channel.
    cutouts: The kind of cutouts, crops, pooled or overview.
    num_cutouts: The number of cutouts of each image and guide.
    cutouts_at_once: The number of cutouts of an image that a guide sees at
      once. Fewer need less memory, and change the result by rounding alone.
    augmentations: The random changes of cutouts, some of flip, affine,
      perspective, color, erase and noise, separated by commas, or none.
    tv_weight: The weight of the total variation, which smooths images.
    init_weight: The weight of the mean squared distance to the first image.
    init_lpips_weight: The weight of the perceptual distance LPIPS to the first
      image.
    ema_decay: The decay of a moving average of the latents, which is the result
      if it is not 0.
    remat: Whether activations of the decoder are computed twice instead of
      kept, which saves memory for large images.

  Example:
    >>> GuidanceOptions(steps=200, cutouts='overview').learning_rate
    0.1
  """

  steps: _Steps = 500
  learning_rate: fields.PositiveFloat = 0.1
  optimizer: str = 'adam'
  schedule: Literal['constant', 'linear', 'cosine'] = 'constant'
  form: latents_lib.Form = 'quantized'
  clamp: bool = True
  cutouts: str | cutouts_lib.Cutouts = 'crops'
  num_cutouts: _Cutouts = 32
  cutouts_at_once: _Cutouts = 32
  augmentations: str | tuple[augmentations_lib.Augmentation, ...] = (
    'flip,affine,perspective,color,erase,noise'
  )
  tv_weight: fields.NonNegativeFloat = 0.0
  init_weight: fields.NonNegativeFloat = 0.0
  init_lpips_weight: fields.NonNegativeFloat = 0.0
  ema_decay: _Decay = 0.0
  remat: bool = False

  def __post_init__(self):
    fields.check(self)
    self.make_cutouts()
    self.make_augmentations()
    self.make_optimizer()

  def make_cutouts(self) -> cutouts_lib.Cutouts:
    """Returns the cutouts."""
    if isinstance(self.cutouts, str):
      return cutouts_lib.by_name(self.cutouts)
    return self.cutouts

  def make_augmentations(self) -> tuple[augmentations_lib.Augmentation, ...]:
    """Returns the augmentations."""
    if isinstance(self.augmentations, str):
      return augmentations_lib.by_names(self.augmentations)
    return self.augmentations

  def make_optimizer(self) -> optax.GradientTransformation:
    """Returns the optimizer with its schedule.

    Raises:
      ValueError: if optax has no such optimizer.
    """
    if self.schedule == 'constant':
      rate = optax.constant_schedule(self.learning_rate)
    elif self.schedule == 'linear':
      rate = optax.linear_schedule(self.learning_rate, 0.0, self.steps)
    else:
      rate = optax.cosine_decay_schedule(self.learning_rate, self.steps)
    return _find_optimizer(self.optimizer)(rate)


def _find_optimizer(
  name: str,
) -> Callable[[optax.Schedule], optax.GradientTransformation]:
  """Returns the function of optax that makes the optimizer."""
  found = getattr(optax, name, None)
  if name.isidentifier() and inspect.isfunction(found):
    parameters = list(inspect.signature(found).parameters.values())
    required = [p.name for p in parameters if p.default is p.empty]
    if 'learning_rate' in [p.name for p in parameters] and required in (
      ['learning_rate'],
      [],
    ):
      return found
  raise ValueError(
    'optimizer must be one of optax, such as adam, adamw or radam; got '
    f'{name!r}.'
  )
