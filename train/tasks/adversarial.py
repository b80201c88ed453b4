"""Trains an autoencoder against a discriminator (VQGAN, arXiv:2012.09841)."""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from train import optim as optim_lib
from train.state import TrainState
from train.tasks import autoencoder
from train.tasks.base import Metrics
from train.tasks.base import Setup
from train.tasks.base import Task
from train.tasks.discriminator import Adversarial
from train.tasks.discriminator import Discriminator
from train.tasks.discriminator import DiscriminatorState
from vq_jax import losses
from vq_jax.config import schema
from vq_jax.utils import images
from vq_jax.utils import replicas
from vq_jax.utils.trees import Tree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(autoencoder.Config):
  """The config of the task 'adversarial'.

  Attributes:
    adversary: the discriminator and the adversarial loss.
  """

  adversary: Adversarial


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
  """What a step computes.

  Attributes:
    discriminator: whether the discriminator is trained.
    generator: whether the adversarial loss is active.
    r1: whether the R1 penalty is computed.
  """

  discriminator: bool
  generator: bool
  r1: bool

  def __str__(self) -> str:
    names = ['autoencoder']
    names += ['with adversarial loss'] if self.generator else []
    names += ['discriminator'] if self.discriminator else []
    names += ['with R1 penalty'] if self.r1 else []
    return ', '.join(names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialTask(autoencoder.AutoencoderTask):
  """Trains an autoencoder, the generator, and a discriminator of its images.

  Attributes:
    discriminator: the discriminator and its losses.
    start: step at which the adversarial loss becomes active.
    warmup: number of steps in which its weight then rises.
    discriminator_start: step at which the training of the discriminator starts.
  """

  discriminator: Discriminator
  start: int
  warmup: int
  discriminator_start: int

  def __post_init__(self):
    super().__post_init__()
    if self.discriminator_start > self.start:
      raise schema.ConfigError(
        'the discriminator must be trained once the adversarial loss is '
        'active: config.adversary.discriminator_start '
        f'({self.discriminator_start} steps) must not come after start '
        f'({self.start} steps).'
      )
    if self.discriminator.config.adaptive and self._last_layer is None:
      raise schema.ConfigError(
        'config.adversary.adaptive needs the gradients at the last layer of '
        f'the decoder, and a {type(self.model.autoencoder).__name__} does not '
        'name that layer; set it to False.'
      )

  @property
  def _last_layer(self) -> tuple[str, ...] | None:
    return getattr(self.model.autoencoder, 'last_layer', None)

  def get_phase(self, step: int) -> Phase:
    """Returns what the next step computes, after `step` steps."""
    discriminator = step >= self.discriminator_start
    r1_is_due = (
      self.discriminator.config.r1 > 0
      and not step % self.discriminator.config.r1_every
    )
    return Phase(
      discriminator=discriminator,
      generator=step >= self.start,
      r1=discriminator and r1_is_due,
    )

  def init_auxiliary(self, rng: jax.Array) -> DiscriminatorState:
    """Returns the first state of the discriminator."""
    image_shape = self.model.info.image_shape
    return self.discriminator.init(rng, tuple(image_shape))

  def get_weight(self, step: jax.Array) -> jax.Array:
    """Returns the weight of the adversarial loss, before it is adapted."""
    ramp = (step + 1 - self.start) / max(self.warmup, 1)
    return self.discriminator.config.weight * jnp.clip(ramp, 0, 1)

  def gradients(self, phase, state, batch, rngs):
    """Returns the gradients of the autoencoder and of the discriminator.

    The gradient of each loss with respect to the reconstruction is computed
    once, and their weighted sum is propagated through the autoencoder once.
    Only the last layer sees both gradients apart, for the adaptive weight.
    """
    image = images.to_float(batch['image'])
    (reconstruction, rest), backward, (codebook, metrics) = jax.vjp(
      lambda params: self.reconstruct(
        optim_lib.freeze_except(params, self.only), state, batch, rngs
      ),
      state.params,
      has_aux=True,
    )
    (loss, terms), cotangent = jax.value_and_grad(
      self.image_loss, has_aux=True
    )(reconstruction, image, state.frozen)
    metrics = {'loss': loss + rest, **terms, **metrics}
    if phase.generator:
      generator_loss, adversarial_cotangent = jax.value_and_grad(
        self.discriminator.generator_loss
      )(reconstruction, state.auxiliary.params)
      weight = self.get_weight(state.step)
      if self.discriminator.config.adaptive:

        def at_last_layer(cotangent):
          grads = backward((cotangent, jnp.zeros_like(rest)))[0]
          for name in self._last_layer:
            grads = grads[name]
          return replicas.pmean(grads['kernel'], self.axis_name)

        weight *= losses.adaptive_weight(
          at_last_layer(cotangent), at_last_layer(adversarial_cotangent)
        )
      cotangent += weight * adversarial_cotangent
      metrics |= {
        'adversarial_loss': generator_loss,
        'adversarial_weight': weight,
      }
      metrics['loss'] += weight * generator_loss
    grads = {'params': backward((cotangent, jnp.ones_like(rest)))[0]}
    if (
      phase.discriminator and self.discriminator.config.update == 'simultaneous'
    ):
      grads['discriminator'], more = self.discriminator.gradients(
        state.auxiliary, image, reconstruction, with_r1=phase.r1
      )
      metrics |= more
    return grads, codebook, metrics

  def after_update(
    self,
    phase: Phase,
    state: TrainState,
    grads: Mapping[str, Tree],
    metrics: Metrics,
    mean_gradients: Callable,
  ) -> tuple[TrainState, Metrics]:
    """Updates the discriminator; see `Task.after_update`."""
    if not phase.discriminator:
      return state, metrics
    if self.discriminator.config.update == 'alternating':

      def gradients(state, batch, rngs):
        (reconstruction, _), _ = self.reconstruct(
          state.params, state, batch, rngs
        )
        image = images.to_float(batch['image'])
        grads, metrics = self.discriminator.gradients(
          state.auxiliary, image, reconstruction, with_r1=phase.r1
        )
        return {'discriminator': grads}, state.codebook, metrics

      grads, more, _ = mean_gradients(gradients)
      metrics = {**metrics, **more}
    grads = grads['discriminator']
    metrics['discriminator_grad_norm'] = optax.tree.norm(grads)
    auxiliary = self.discriminator.update(state.auxiliary, grads, metrics)
    return state.replace(auxiliary=auxiliary), metrics


def make_task(setup: Setup) -> Task:
  """Returns the task that a config describes, to be trained.

  Raises:
    ConfigError: if something in the config is wrong.
    MissingWeights: if the loss needs released weights that are not there.
  """
  config: Adversarial = setup.config.adversary
  to_steps = setup.intervals.to_steps
  start = to_steps(config.start)
  discriminator_start = start
  if config.discriminator_start is not None:
    discriminator_start = to_steps(config.discriminator_start)
  return AdversarialTask.create(
    setup,
    discriminator=Discriminator.create(setup, config),
    start=start,
    warmup=to_steps(config.warmup),
    discriminator_start=discriminator_start,
  )


load_task = autoencoder.load_task  # the discriminator takes no part in it
