"""Stage one against a discriminator (VQGAN, Esser et al. 2021, 3.1)."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from train import optim
from train import settings as settings_lib
from train.adversary import Game
from train.adversary import Phase
from train.state import Adversary
from train.state import TrainState
from train.steps import update
from vq_jax import losses
from vq_jax.utils import images
from vq_jax.utils import replicas

Tree = Any


def make_step(
  game: Game,
  phase: Phase,
  optimizer: optax.GradientTransformation,
  settings: settings_lib.Optim,
  *,
  seed: int,
  schedule: optax.Schedule,
) -> update.Step:
  """Returns the pure step of a phase; see `update.make_step` for the rest."""
  accumulated = functools.partial(update.accumulated, parts=settings.accumulate)
  apart = phase.learns and game.settings.update == 'alternating'
  gradients = functools.partial(
    _gradients,
    game,
    phase,
    together=phase.learns and not apart,
    only=settings.only,
  )

  def step(state: TrainState, batch: Mapping):
    batch, rngs = update.with_randomness(state, batch, seed, game.axis_name)
    grads, codebook, metrics = accumulated(gradients, state, batch, rngs)
    grads, metrics = replicas.pmean((grads, metrics), game.axis_name)
    metrics['learning_rate'] = schedule(state.step)
    metrics['grad_norm'] = optax.tree.norm(grads['autoencoder'])
    state = update.updated(
      state, grads['autoencoder'], codebook, optimizer, settings
    )
    if apart:

      def learn(state, batch, rngs):
        (reconstruction, _), _ = game.forward(state.params, state, batch, rngs)
        grads, metrics = _discriminator(
          game, phase, state.adversary, batch, reconstruction
        )
        return {'discriminator': grads}, state.codebook, metrics

      grads, _, more = accumulated(learn, state, batch, rngs)
      grads, more = replicas.pmean((grads, more), game.axis_name)
      metrics |= more
    if phase.learns:
      metrics['discriminator_grad_norm'] = optax.tree.norm(
        grads['discriminator']
      )
      adversary = _learned(game, state.adversary, grads, metrics)
      state = state.replace(adversary=adversary)
    return state.replace(step=state.step + 1), metrics

  return step


def _gradients(
  game: Game,
  phase: Phase,
  state: TrainState,
  batch: Mapping,
  rngs: Mapping,
  *,
  together: bool,
  only: tuple[str, ...],
) -> tuple[Tree, Tree, dict]:
  """Returns the gradients of the autoencoder, and of both if `together`.

  What comes back from the image is worked out once for each loss, there, and
  sent through the autoencoder once: its last layer alone sees them apart.
  """
  image = images.to_float(batch['image'])
  (reconstruction, rest), back, (codebook, metrics) = jax.vjp(
    lambda params: game.forward(optim.held(params, only), state, batch, rngs),
    state.params,
    has_aux=True,
  )
  (loss, terms), toward = jax.value_and_grad(game.image_loss, has_aux=True)(
    reconstruction, image, state.frozen
  )
  metrics = {'loss': loss + rest, **terms, **metrics}
  if phase.felt:
    fooling, against = jax.value_and_grad(game.deceive)(
      reconstruction, state.adversary.params
    )
    weight = game.weight(state.step)
    if game.settings.adaptive:

      def at_last(cotangent):
        layer = back((cotangent, jnp.zeros_like(rest)))[0]
        for name in game.last_layer:
          layer = layer[name]
        return replicas.pmean(layer['kernel'], game.axis_name)

      weight *= losses.adaptive_weight(at_last(toward), at_last(against))
    toward += weight * against
    metrics |= {'adversarial_loss': fooling, 'adversarial_weight': weight}
    metrics['loss'] += weight * fooling
  grads = {'autoencoder': back((toward, jnp.ones_like(rest)))[0]}
  if together:
    grads['discriminator'], more = _discriminator(
      game, phase, state.adversary, batch, reconstruction
    )
    metrics |= more
  return grads, codebook, metrics


def _discriminator(
  game: Game,
  phase: Phase,
  adversary: Adversary,
  batch: Mapping,
  reconstruction: jax.Array,
) -> tuple[Tree, dict]:
  """Returns the gradient of the discriminator, and metrics."""
  image = images.to_float(batch['image'])
  fake_image = jax.lax.stop_gradient(reconstruction)
  s = game.settings

  def loss_fn(params):
    real, fake = game.judge(params, image), game.judge(params, fake_image)
    loss = game.loss.discriminator(real, fake).mean()
    metrics = {
      'discriminator_loss': loss,
      'logits_real': real.mean(),
      'logits_fake': fake.mean(),
    }
    if s.lecam:
      metrics['lecam'] = losses.lecam(real, fake, adversary.means).mean()
      loss += s.lecam * metrics['lecam']
    if phase.penalized:
      judge = functools.partial(game.judge, params)
      metrics['r1'] = losses.r1_penalty(judge, image).mean()
      loss += s.r1 * s.r1_every * metrics['r1']
    return loss, metrics

  (_, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    adversary.params
  )
  return grads, metrics


def _learned(
  game: Game, adversary: Adversary, grads: Tree, metrics: Mapping
) -> Adversary:
  """Returns the discriminator after its step."""
  updates, opt_state = game.optimizer.update(
    grads['discriminator'], adversary.opt_state, adversary.params
  )
  return Adversary(
    params=optax.apply_updates(adversary.params, updates),
    opt_state=opt_state,
    means=adversary.means.update(
      metrics['logits_real'], metrics['logits_fake'], game.settings.lecam_decay
    ),
  )
