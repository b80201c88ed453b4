"""What the one loop must know of each kind of model."""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from train import adversary as adversary_lib
from train import config as config_lib
from train import evaluation
from train import intervals
from train import settings as settings_lib
from train import sharding
from train.steps import autoencoder as autoencoder_step
from train.steps import update
from train.steps import vae as vae_step
from vq_jax import autoencoders
from vq_jax import data
from vq_jax import model as model_lib
from vq_jax.config import modules

Tree = Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
  """The result of an evaluation.

  Attributes:
    metrics: name -> number.
    pictures: name -> uint8 [H, W, C].
    histograms: name -> counts.
  """

  metrics: dict[str, float]
  pictures: dict[str, np.ndarray]
  histograms: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """A kind of model, ready to be trained.

  Attributes:
    init: rng -> variables.
    loss_fn: see `train.steps.update.LossFn`.
    frozen: variables of networks that are only applied.
    evaluate: variables (gathered) -> `Evaluation`.
    game: the discriminator that learns beside, if there is one.
    adapt: (new variables, those of another run, its config) -> the latter, fit
      to be taken over; None if they are as they are.
  """

  init: Callable[[jax.Array], Tree]
  loss_fn: update.LossFn
  frozen: Mapping[str, Tree]
  evaluate: Callable[[Tree], Evaluation]
  game: adversary_lib.Game | None = None
  adapt: Callable[[Tree, Tree, Mapping[str, Any]], Tree] | None = None


def autoencoder_task(
  card: settings_lib.AutoencoderCard,
  config: Mapping[str, Any],
  runner: sharding.JitRunner,
  batches: data.EvalBatches,
  plan: intervals.Intervals,
) -> Task:
  """Stage one.

  Args:
    card: the parsed card.
    config: what `config.json` holds.
    runner: compiles the evaluation.
    batches: of held-out images.
    plan: how long it is trained.

  Raises:
    ConfigError: if something in the card is wrong.
    MissingWeights: if the loss needs released weights that are not there.
  """
  module = modules.make_autoencoder(config)
  if isinstance(module, autoencoders.VAE):
    raise settings_lib.ConfigError(
      "a model of type vae is trained by the task 'vae'; got 'autoencoder'."
    )
  check_output(module, config['data']['image_shape'])
  settings = config_lib.section(autoencoder_step.Loss, 'loss', card.loss)
  optim = config_lib.section(settings_lib.Optim, 'optim', card.optim)
  perceptual, frozen = autoencoder_step.load_perceptual(settings)
  forward = autoencoder_step.make_forward(
    sharding.bind_axis(module, runner.axis_name),
    settings,
    runner.axis_name,
    codebook_learns=not optim.only,
  )
  image_loss = autoencoder_step.make_image_loss(settings, perceptual)
  game = None
  if card.adversary is not None:
    game = adversary_lib.make_game(
      card, config, module, forward, image_loss, plan, runner.axis_name
    )
  return Task(
    init=lambda rng: modules.init_autoencoder(module, config, rng),
    loss_fn=autoencoder_step.make_loss(forward, image_loss),
    frozen=frozen,
    evaluate=_autoencoder_evaluation(
      module, config, runner, batches, plan.pictures, perceptual, frozen
    ),
    game=game,
  )


def _autoencoder_evaluation(
  module: nn.Module,
  config: Mapping[str, Any],
  runner: sharding.JitRunner,
  batches: data.EvalBatches,
  pictures: int,
  perceptual: Mapping[str, nn.Module],
  frozen: Mapping[str, Tree],
) -> Callable[[Tree], Evaluation]:
  """Returns what evaluates an autoencoder, also by the distances it learns."""
  sums_fn = runner.compile_eval(evaluation.autoencoder_sums(module, perceptual))
  shown = first_images(batches, pictures)

  def evaluate(variables: Tree) -> Evaluation:
    both = {**frozen, 'autoencoder': variables}
    sums = evaluation.sum_over(sums_fn, both, batches, runner)
    model = model_lib.Model(
      autoencoder=module,
      variables={'autoencoder': jax.device_get(variables)},
      config=config,
      autoencoder_config=config,
    )
    return Evaluation(
      metrics=evaluation.autoencoder_metrics(sums),
      pictures={
        'reconstructions': evaluation.reconstruction_grid(model, shown)
      },
      histograms={
        f'code_counts{suffix}': counts.reshape(-1)
        for suffix, counts in sums.get('code_counts', {}).items()
      },
    )

  return evaluate


def check_output(module: nn.Module, image_shape: Sequence[int]) -> None:
  """Raises ConfigError unless an autoencoder gives images like those it gets.

  Nothing is computed.

  Args:
    module: the autoencoder.
    image_shape: (H, W, C) of the data.
  """
  image = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
  try:
    (reconstruction, *_), _ = jax.eval_shape(
      module.init_with_output, jax.random.key(0), image
    )
  except ValueError as error:  # a part of it refuses the shape
    raise settings_lib.ConfigError(
      f'config.model does not fit images {tuple(image_shape)} of the data: '
      f'{str(error).splitlines()[0]}'
    ) from error
  found = tuple(reconstruction.shape[1:])
  if found != tuple(image_shape):
    raise settings_lib.ConfigError(
      f'the data gives images {tuple(image_shape)}, and the decoder '
      f'(config.model) makes images {found}. Set its channels (out_channels, '
      'or image_channels) or config.data.channels, and the preprocessing.'
    )


def vae_task(
  card: settings_lib.Card,
  config: Mapping[str, Any],
  runner: sharding.JitRunner,
  batches: data.EvalBatches,
  plan: intervals.Intervals,
) -> Task:
  """Stage one without codes, by a bound on the likelihood."""
  module = modules.make_autoencoder(config)
  if not isinstance(module, autoencoders.VAE):
    raise settings_lib.ConfigError(
      "the task 'vae' trains a model of type vae; got "
      f'{config["card"]["model"]["type"]}. Use the task autoencoder.'
    )
  check_output(module, config['data']['image_shape'])
  settings = config_lib.section(vae_step.Loss, 'loss', card.loss)
  sums_fn = runner.compile_eval(
    evaluation.vae_sums(module, settings.iwae_samples)
  )
  shown = first_images(batches, plan.pictures)
  dims = math.prod(config['data']['image_shape'])

  def evaluate(variables: Tree) -> Evaluation:
    sums = evaluation.sum_over(sums_fn, variables, batches, runner)
    model = model_lib.Model(
      autoencoder=module,
      variables={'autoencoder': jax.device_get(variables)},
      config=config,
      autoencoder_config=config,
    )
    return Evaluation(
      metrics=evaluation.vae_metrics(sums, dims, module.likelihood.bins),
      pictures={
        'reconstructions': evaluation.reconstruction_grid(model, shown),
        'samples': evaluation.sample_grid(model, plan.pictures),
      },
    )

  loss_fn = vae_step.make_loss(
    module, settings, steps_per_epoch=plan.steps_per_epoch, total=plan.total
  )
  return Task(
    init=lambda rng: modules.init_autoencoder(module, config, rng),
    loss_fn=loss_fn,
    frozen={},
    evaluate=evaluate,
  )


def first_images(batches: data.EvalBatches, number: int) -> np.ndarray:
  """Returns the first held-out images, uint8 [number, H, W, C]."""
  found = []
  for batch in batches:
    found.extend(batch['image'][batch['mask']])
    if len(found) >= number:
      break
  return np.stack(found[:number])
