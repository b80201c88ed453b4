"""A task outside of train: an autoencoder whose parameters stay small."""

import optax

from train.tasks import autoencoder

Config = autoencoder.Config
load_task = autoencoder.load_task


class PenalizedTask(autoencoder.AutoencoderTask):
  """Adds the norm of the parameters to the loss."""

  def loss(self, params, state, batch, rngs):
    loss, (codebook, metrics) = super().loss(params, state, batch, rngs)
    penalty = optax.tree.norm(params)
    return loss + penalty, (codebook, {**metrics, 'penalty': penalty})


def make_task(setup):
  return PenalizedTask.create(setup)
