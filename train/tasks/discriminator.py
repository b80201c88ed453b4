"""The discriminator of adversarial training, its losses and its update."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated
from typing import Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from train import optim as optim_lib
from train import sharding
from train.tasks.base import Metrics
from train.tasks.base import Setup
from vq_jax import losses
from vq_jax.config import registry
from vq_jax.config import schema
from vq_jax.utils import fields
from vq_jax.utils.trees import Tree

_Decay = Annotated[float, fields.Range(least=0, most=1 - 1e-9)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscriminatorOptim(schema.SubConfig):
  """`config.adversary.optim`: the optimizer of the discriminator.

  Each field that is None has the value of `config.optim`, the optimizer of the
  autoencoder; see `vq_jax.config.schema.OptimConfig`.
  """

  learning_rate: fields.NonNegativeFloat | None = None
  schedule: Literal['constant', 'cosine', 'linear'] | None = None
  warmup: schema.Duration | None = None
  final_scale: fields.NonNegativeFloat | None = None
  b1: _Decay | None = None
  b2: _Decay | None = None
  eps: fields.PositiveFloat | None = None
  weight_decay: fields.NonNegativeFloat | None = None
  decay_names: tuple[str, ...] | None = None
  clip_norm: fields.PositiveFloat | None = None

  def fill(self, optim: schema.OptimConfig) -> schema.OptimConfig:
    """Returns the config of the optimizer; `optim` is the autoencoder's."""
    values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    given = {name: x for name, x in values.items() if x is not None}
    return dataclasses.replace(optim, only=(), **given)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial(schema.SubConfig):
  """`config.adversary`: the discriminator and the adversarial loss.

  Attributes:
    discriminator: spec of the discriminator; see `vq_jax.config.registry`.
    loss: 'hinge', 'non_saturating' or 'vanilla'.
    weight: weight of the generator's adversarial loss.
    adaptive: whether this weight is multiplied by the ratio of the gradient
      norms of the image loss and of the adversarial loss at the last layer of
      the decoder (VQGAN, equation 7).
    start: duration after which the adversarial loss becomes active.
    warmup: duration in which its weight then rises linearly from 0.
    discriminator_start: duration after which the discriminator is trained;
      None is `start`, as published. A discriminator that is trained earlier
      does not begin with random gradients.
    update: 'simultaneous' computes both gradients on the same reconstructions;
      'alternating' trains the discriminator on those of the autoencoder after
      its update, which costs one more forward pass.
    r1: weight of the squared gradient of the discriminator at real images
      (Mescheder et al. 2018); see `vq_jax.losses.r1_penalty`.
    r1_every: number of steps after which this penalty is computed; it is then
      multiplied by this number (StyleGAN2, appendix B).
    lecam: weight of the LeCam regularizer (Tseng et al. 2021).
    lecam_decay: decay of its moving averages of the logits.
    optim: the optimizer of the discriminator, where it differs from that of
      the autoencoder.
  """

  discriminator: Annotated[Mapping, schema.Spec('discriminator')]
  loss: str = 'hinge'
  weight: fields.NonNegativeFloat = 0.1
  adaptive: bool = False
  start: schema.Duration = schema.NO_STEPS
  warmup: schema.Duration = schema.NO_STEPS
  discriminator_start: schema.Duration | None = None
  update: Literal['simultaneous', 'alternating'] = 'simultaneous'
  r1: fields.NonNegativeFloat = 0.0
  r1_every: fields.PositiveInt = 1
  lecam: fields.NonNegativeFloat = 0.0
  lecam_decay: fields.Fraction = 0.999
  optim: DiscriminatorOptim = DiscriminatorOptim()


@flax.struct.dataclass
class DiscriminatorState:
  """The discriminator in a training state.

  Attributes:
    params: its parameters.
    opt_state: state of its optimizer.
    logit_means: moving averages for the LeCam regularizer.
  """

  params: Tree
  opt_state: Tree
  logit_means: losses.LogitMeans


@dataclasses.dataclass(frozen=True, kw_only=True)
class Discriminator:
  """A discriminator, the losses of both networks, and its optimizer.

  Attributes:
    module: images -> logits.
    config: the weights of the losses.
    adversarial_loss: the losses of the generator and of the discriminator.
    optimizer: updates the discriminator.
    axis_name: name of the pmap axis; None under jit.
  """

  module: nn.Module
  config: Adversarial
  adversarial_loss: losses.AdversarialLoss
  optimizer: optax.GradientTransformation
  axis_name: str | None = None

  @classmethod
  def create(cls, setup: Setup, config: Adversarial) -> 'Discriminator':
    """Returns the discriminator that a config describes."""
    optim = config.optim.fill(setup.config.optim)
    schedule = optim_lib.make_schedule(optim, setup.intervals)
    return cls(
      module=registry.build('discriminator', config.discriminator),
      config=config,
      adversarial_loss=registry.lookup(
        registry.ADVERSARIAL_LOSSES, config.loss, 'adversarial loss'
      )(),
      optimizer=optim_lib.make_optimizer(optim, schedule),
      axis_name=setup.axis_name,
    )

  def init(
    self, rng: jax.Array, image_shape: tuple[int, ...]
  ) -> DiscriminatorState:
    """Returns the first state, for images of shape (H, W, C)."""
    params = self.module.init(rng, jnp.zeros((1, *image_shape)))['params']
    return DiscriminatorState(
      params=params,
      opt_state=self.optimizer.init(params),
      logit_means=losses.LogitMeans.zeros(),
    )

  def get_logits(self, params: Tree, image: jax.Array) -> jax.Array:
    """Returns the logits of images [B, H, W, C]."""
    bound = sharding.bind_axis(self.module, self.axis_name)
    return bound.apply({'params': params}, image)

  def generator_loss(
    self, reconstruction: jax.Array, params: Tree
  ) -> jax.Array:
    """Returns the adversarial loss of reconstructions [B, H, W, C], []."""
    logits = self.get_logits(params, reconstruction)
    return self.adversarial_loss.generator(logits).mean()

  def gradients(
    self,
    state: DiscriminatorState,
    image: jax.Array,
    reconstruction: jax.Array,
    *,
    with_r1: bool,
  ) -> tuple[Tree, Metrics]:
    """Returns the gradients of the discriminator's loss, and metrics.

    Args:
      state: the discriminator.
      image: real images, [B, H, W, C] in [0, 1].
      reconstruction: generated images, [B, H, W, C].
      with_r1: whether the R1 penalty is computed.
    """
    fake_image = jax.lax.stop_gradient(reconstruction)

    def loss_fn(params):
      real = self.get_logits(params, image)
      fake = self.get_logits(params, fake_image)
      loss = self.adversarial_loss.discriminator(real, fake).mean()
      metrics = {
        'discriminator_loss': loss,
        'logits_real': real.mean(),
        'logits_fake': fake.mean(),
      }
      if self.config.lecam:
        lecam = losses.lecam(real, fake, state.logit_means).mean()
        metrics['lecam'] = lecam
        loss += self.config.lecam * lecam
      if with_r1:
        get_logits = functools.partial(self.get_logits, params)
        metrics['r1'] = losses.r1_penalty(get_logits, image).mean()
        loss += self.config.r1 * self.config.r1_every * metrics['r1']
      return loss, metrics

    (_, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      state.params
    )
    return grads, metrics

  def update(
    self, state: DiscriminatorState, grads: Tree, metrics: Metrics
  ) -> DiscriminatorState:
    """Returns the state after an optimizer step.

    Args:
      state: the discriminator.
      grads: gradients of its parameters.
      metrics: those of `gradients`.
    """
    updates, opt_state = self.optimizer.update(
      grads, state.opt_state, state.params
    )
    return DiscriminatorState(
      params=optax.apply_updates(state.params, updates),
      opt_state=opt_state,
      logit_means=state.logit_means.update(
        metrics['logits_real'], metrics['logits_fake'], self.config.lecam_decay
      ),
    )
