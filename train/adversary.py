"""A discriminator, and when it learns and is felt."""

import dataclasses
from collections.abc import Mapping
from typing import Any
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from train import config as config_lib
from train import intervals
from train import optim as optim_lib
from train import settings as settings_lib
from train import sharding
from train.state import Adversary
from train.steps import autoencoder
from vq_jax import losses
from vq_jax.config import registry
from vq_jax.utils import fields

Tree = Any

# What section `optim` of a discriminator has no use for.
_AUTOENCODERS_ALONE = ('accumulate', 'ema_decay', 'only')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(settings_lib.Section):
  """Section `adversary` of an autoencoder's card.

  Attributes:
    discriminator: spec of a discriminator; see `vq_jax.config.registry`.
    loss: 'hinge', 'non_saturating' or 'vanilla'.
    weight: of the generator's adversarial loss.
    adaptive: whether the weight is multiplied by how much stronger the loss of
      the image is than the adversary's, at the decoder's last layer (VQGAN,
      eq. 7).
    start: duration before the autoencoder feels the discriminator.
    warmup: duration in which its weight then rises linearly from 0.
    discriminator_start: duration before the discriminator learns; None is
      `start`, as published. A discriminator that has learned before it is felt
      does not ruin what stands.
    update: 'simultaneous' steps of both from the same reconstructions, or
      'alternating': the discriminator sees those of the autoencoder just
      updated, for the price of one more pass.
    r1: weight of the squared gradient at real images (Mescheder et al. 2018),
      beside the loss as `loss` has it; see `vq_jax.losses.r1_penalty`.
    r1_every: it is computed every so many steps only, then so many times as
      heavy (StyleGAN2, appendix B).
    lecam: weight of the distance of logits from the other kind's average
      (Tseng et al. 2021).
    lecam_decay: of these averages.
    optim: section `optim` of the discriminator; what is missing is the
      autoencoder's.
  """

  discriminator: Mapping
  loss: str = 'hinge'
  weight: fields.NonNegativeFloat = 0.1
  adaptive: bool = False
  start: Mapping = dataclasses.field(default_factory=lambda: {'steps': 0})
  warmup: Mapping = dataclasses.field(default_factory=lambda: {'steps': 0})
  discriminator_start: Mapping | None = None
  update: Literal['simultaneous', 'alternating'] = 'simultaneous'
  r1: fields.NonNegativeFloat = 0.0
  r1_every: fields.PositiveInt = 1
  lecam: fields.NonNegativeFloat = 0.0
  lecam_decay: fields.Fraction = 0.999
  optim: Mapping = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    super().__post_init__()
    for name in _AUTOENCODERS_ALONE:
      if name in self.optim:
        raise settings_lib.ConfigError(
          f'config.adversary.optim.{name} would do nothing: a discriminator '
          'has none of its own. Leave it out.'
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
  """What a step does; each phase is compiled by itself.

  Attributes:
    learns: whether the discriminator learns.
    felt: whether the autoencoder feels it.
    penalized: whether its gradient at real images is penalized.
  """

  learns: bool
  felt: bool
  penalized: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Game:
  """Both players, and when what happens.

  Attributes:
    forward: see `train.steps.autoencoder`.
    image_loss: likewise.
    last_layer: names that lead to the decoder's last layer in its parameters.
    discriminator: the module.
    loss: of both sides; see `vq_jax.losses.adversarial`.
    settings: section `adversary`.
    optimizer: of the discriminator.
    image_shape: (H, W, C).
    start: first step at which the autoencoder feels it.
    warmup: steps in which the weight then rises.
    discriminator_start: first step at which it learns.
    axis_name: the pmap axis.
  """

  forward: autoencoder.Forward
  image_loss: autoencoder.ImageLoss
  last_layer: tuple[str, ...] | None
  discriminator: nn.Module
  loss: losses.AdversarialLoss
  settings: Settings
  optimizer: optax.GradientTransformation
  image_shape: tuple[int, int, int]
  start: int
  warmup: int
  discriminator_start: int
  axis_name: str | None

  def init(self, rng: jax.Array) -> Adversary:
    """Starts the discriminator."""
    image = jnp.zeros((1, *self.image_shape))
    params = self.discriminator.init(rng, image)['params']
    return Adversary(
      params=params,
      opt_state=self.optimizer.init(params),
      means=losses.LogitMeans.zeros(),
    )

  def phase(self, step: int) -> Phase:
    """Returns what the step after so many does."""
    learns = step >= self.discriminator_start
    due = step % self.settings.r1_every == 0
    return Phase(
      learns=learns,
      felt=step >= self.start,
      penalized=learns and self.settings.r1 > 0 and due,
    )

  def judge(self, params: Tree, image: jax.Array) -> jax.Array:
    """Returns the discriminator's logits."""
    bound = sharding.bind_axis(self.discriminator, self.axis_name)
    return bound.apply({'params': params}, image)

  def deceive(self, reconstruction: jax.Array, params: Tree) -> jax.Array:
    """Returns the autoencoder's adversarial loss, []."""
    return self.loss.generator(self.judge(params, reconstruction)).mean()

  def weight(self, step: jax.Array) -> jax.Array:
    """Returns the weight of that loss at a step, before it adapts."""
    ramp = (step + 1 - self.start) / max(self.warmup, 1)
    return self.settings.weight * jnp.clip(ramp, 0, 1)


def make_game(
  card: settings_lib.AutoencoderCard,
  config: Mapping[str, Any],
  module: nn.Module,
  forward: autoencoder.Forward,
  image_loss: autoencoder.ImageLoss,
  plan: intervals.Intervals,
  axis_name: str | None,
) -> Game:
  """Builds what the section `adversary` of a card describes.

  Args:
    card: the parsed card, with that section.
    config: what `config.json` holds.
    module: the autoencoder.
    forward: see `train.steps.autoencoder`.
    image_loss: likewise.
    plan: how long it is trained.
    axis_name: the pmap axis.

  Raises:
    ConfigError: if the section, or its fit to the autoencoder, is wrong.
  """
  settings = config_lib.section(Settings, 'adversary', card.adversary)
  optim = config_lib.section(
    settings_lib.Optim,
    'adversary.optim',
    {**card.optim, 'only': (), **settings.optim},
  )
  optimizer, _ = optim_lib.optimizer_of(
    optim, steps_per_epoch=plan.steps_per_epoch, total=plan.total
  )
  last_layer = getattr(module, 'last_layer', None)
  if settings.adaptive and last_layer is None:
    raise settings_lib.ConfigError(
      'config.adversary.adaptive weighs gradients at the last layer of the '
      f'decoder, and a model of type {card.model["type"]!r} does not tell '
      'which that is; set it to False.'
    )
  return Game(
    forward=forward,
    image_loss=image_loss,
    last_layer=last_layer,
    discriminator=registry.build('discriminator', settings.discriminator),
    loss=registry.lookup(
      registry.ADVERSARIAL_LOSSES, settings.loss, 'adversarial loss'
    )(),
    settings=settings,
    optimizer=optimizer,
    image_shape=tuple(config['data']['image_shape']),
    axis_name=axis_name,
    **_starts(settings, plan),
  )


def _starts(settings: Settings, plan: intervals.Intervals) -> dict[str, int]:
  """Returns the durations of a section in steps."""

  def steps(name):
    duration = config_lib.section(
      settings_lib.Duration, f'adversary.{name}', getattr(settings, name)
    )
    return duration.resolve(
      steps_per_epoch=plan.steps_per_epoch, total=plan.total
    )

  found = {'start': steps('start'), 'warmup': steps('warmup')}
  found['discriminator_start'] = found['start']
  if settings.discriminator_start is not None:
    found['discriminator_start'] = steps('discriminator_start')
  if found['discriminator_start'] > found['start']:
    raise settings_lib.ConfigError(
      'a discriminator that is felt must learn: config.adversary'
      f'.discriminator_start ({found["discriminator_start"]} steps) must not '
      f'come after start ({found["start"]} steps).'
    )
  return found
