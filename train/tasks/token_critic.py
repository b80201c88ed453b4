"""Trains a critic of the tokens of a MaskGIT (arXiv:2209.04439)."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

import vq_jax
from train.tasks import checks
from train.tasks import copies
from train.tasks import image_grids
from train.tasks import prior as prior_lib
from train.tasks.base import Setup
from train.tasks.base import Task
from train.tasks.base import get_loss_config
from vq_jax import priors
from vq_jax import samplers
from vq_jax.config import modules
from vq_jax.config import schema
from vq_jax.model import Model
from vq_jax.runs import export as export_lib
from vq_jax.runs import layout
from vq_jax.runs import load as load_lib
from vq_jax.utils import fields
from vq_jax.utils.trees import Tree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(schema.SubConfig):
  """`config.loss`: the samples that the critic is trained on.

  Attributes:
    schedule: name of the schedule of the fraction of the tokens that are
      sampled; see `vq_jax.samplers.schedules`.
    temperature: of the samples.
  """

  schedule: str = 'cosine'
  temperature: fields.NonNegativeFloat = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(schema.Config):
  """The config of the task 'token_critic'.

  Attributes:
    model: spec of the critic.
    generator: run folder of the MaskGIT whose samples are judged.
    loss: the samples that the critic is trained on.
    sampler: how images are sampled, in evaluations and by default.
  """

  model: Annotated[Mapping, schema.Spec('critic')]
  generator: str
  loss: Loss = Loss()
  sampler: samplers.MaskGITSampler = samplers.MaskGITSampler(order='critic')


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenCriticTask(Task):
  """Minimises the cross-entropy of real and sampled tokens (section 3.1).

  Some of the tokens of an image are masked, and the frozen generator samples
  them, independently of one another. The critic learns which tokens are real.

  Attributes:
    config: the samples.
  """

  trained: ClassVar[str] = 'critic'

  config: Loss

  def init(self, rng: jax.Array) -> Tree:
    """Returns the first variables of the critic."""
    return modules.init_prior(self.model.critic, rng)

  def make_samples(
    self,
    variables: Mapping[str, Tree],
    batch: Mapping[str, jax.Array],
    keys: jax.Array,
  ) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    """Replaces some of the tokens of a batch by samples of the generator.

    Args:
      variables: network name -> variables of the frozen networks.
      batch: with images or tokens.
      keys: one key per example, [B].

    Returns:
      the tokens, int32 [B, N]; the labels, int32 [B], or None; whether each
      token is real, bool [B, N].
    """
    generator, vocab = self.model.prior, self.model.critic.vocab
    tokens, parent = prior_lib.get_tokens(
      self.model.autoencoder,
      variables['autoencoder'],
      batch,
      self.model.level,
    )
    schedule = samplers.schedules.by_name(self.config.schedule)
    keys = jax.vmap(jax.random.split)(keys)
    mask = priors.random_mask(keys[:, 0], generator.num_tokens, schedule)
    label = prior_lib.get_label(vocab, batch)
    logits = generator.apply(
      variables['prior'],
      jnp.where(mask, vocab.mask_id, tokens),
      label=label,
      condition=parent,
    )
    choice = samplers.TokenChoice(temperature=self.config.temperature)
    sampled = choice(keys[:, 1], logits)
    return jnp.where(mask, sampled, tokens), label, ~mask

  def loss(self, params, state, batch, rngs):
    """Returns the binary cross-entropy of all tokens; see `Task.loss`."""
    tokens, label, real = self.make_samples(state.frozen, batch, batch['key'])
    logits = self.model.critic.apply(
      {'params': params},
      tokens,
      label=label,
      train=True,
      rngs={'dropout': rngs['dropout']},
    )
    loss = optax.sigmoid_binary_cross_entropy(logits, real).mean()
    # The samples of a generator whose logits are NaN are invalid.
    loss = jnp.where(jnp.any(tokens == samplers.INVALID), jnp.nan, loss)
    hits = ((logits > 0) == real).astype(jnp.float32)
    return loss, (state.codebook, {'accuracy': hits.mean()})

  def evaluate(self, variables, batch):
    """Returns the cross-entropy and the accuracy; see `Task.evaluate`."""
    keys = prior_lib.get_example_keys(batch)
    tokens, label, real = self.make_samples(variables, batch, keys)
    logits = self.model.critic.apply(variables['critic'], tokens, label=label)
    loss = optax.sigmoid_binary_cross_entropy(logits, real).mean(axis=1)
    hits = ((logits > 0) == real).astype(jnp.float32).mean(axis=1)
    ones = jnp.ones(len(tokens))
    return {'critic_loss': (loss, ones), 'critic_accuracy': (hits, ones)}

  def make_images(self, model, batches, num):
    """Returns a grid of samples; see `Task.make_images`."""
    del batches
    return {'samples': image_grids.make_sample_grid(model, num)}


def make_task(setup: Setup) -> Task:
  """Returns the task that a config describes, to be trained.

  Raises:
    ConfigError: if something in the config is wrong.
  """
  config: Config = setup.config
  generator = vq_jax.load(
    copies.copy_run(
      setup,
      layout.GENERATOR,
      config.generator,
      export_lib.export_generator,
    ),
    abstract=setup.abstract,
  )
  checks.check_image_shape(generator, setup.image_shape)
  checks.check_tokens(generator, setup.source)
  model = load_lib.make_model(
    generator.autoencoder,
    generator.variables,
    setup.run_config,
    autoencoder_run_config=generator.autoencoder_run_config,
    prior=generator.prior,
    parent=generator.parent,
    critic=modules.make_critic(setup.run_config, generator.prior),
  )
  return TokenCriticTask(
    model=model,
    config=config.loss,
    only=config.optim.only,
    axis_name=setup.axis_name,
  )


def load_task(model: Model) -> Task:
  """Returns the task that evaluates a critic."""
  return TokenCriticTask(model=model, config=get_loss_config(model, Loss))
