"""Opening a run: its task, its first state, its compiled steps."""

import functools
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import optax

import vq_jax
from train import datasets as datasets_lib
from train import intervals
from train import prior_tasks
from train import run_folder
from train import settings as settings_lib
from train import sharding
from train import tasks
from train.state import TrainState
from train.steps import adversarial
from train.steps import update
from vq_jax import checkpoints
from vq_jax import data
from vq_jax import runs
from vq_jax.utils import trees


def make_task(
  card: settings_lib.Card,
  folder: pathlib.Path,
  config: Mapping[str, Any],
  datasets: datasets_lib.Datasets,
  runner: sharding.JitRunner,
  plan: intervals.Intervals,
) -> tasks.Task:
  """Builds the task that a card names."""
  tokens = isinstance(datasets.train, data.TokenSource)
  batches, pictures = datasets.eval_batches, plan.pictures
  if card.task in ('autoencoder', 'vae') and tokens:
    raise settings_lib.ConfigError(
      f'the task {card.task!r} learns from images; {datasets.train.name} holds '
      'tokens.'
    )
  if card.task == 'autoencoder':
    return tasks.autoencoder_task(card, config, runner, batches, plan)
  if card.task == 'vae':
    return tasks.vae_task(card, config, runner, batches, plan)
  inner, coarser = _own_models(card, folder)
  prior_tasks.check_images(inner, datasets.facts['image_shape'])
  if tokens:
    prior_tasks.check_tokens(inner, datasets.train)
  if card.task == 'token_critic':
    return prior_tasks.critic_task(
      card, config, runner, batches, pictures, inner
    )
  return prior_tasks.prior_task(
    card, config, runner, batches, pictures, inner, coarser
  )


def _own_models(card, folder: pathlib.Path):
  """Returns the run's own copies of what it learns from.

  Of a prior its autoencoder, and the prior of the coarser level if there is
  one; of a critic its generator, and None.
  """
  copied = run_folder.is_claimed(folder)
  if card.task == 'token_critic':
    own = folder / runs.GENERATOR
    prior_tasks.own_copy(
      own, card.generator, runs.export_generator, copied=copied
    )
    return vq_jax.load(own), None
  own = folder / runs.AUTOENCODER
  prior_tasks.own_copy(
    own, card.autoencoder, runs.export_autoencoder, copied=copied
  )
  inner, coarser = vq_jax.load(own), None
  if card.coarser is not None:
    own = folder / runs.COARSER

    def export(model, folder):
      prior_tasks.check_coarser(card, model, inner)
      runs.export_prior(model, folder)

    prior_tasks.own_copy(own, card.coarser, export, copied=copied)
    coarser = runs.load_prior(own, inner)
  return inner, coarser


def initial_state(
  card: settings_lib.Card,
  folder: pathlib.Path,
  task: tasks.Task,
  optimizer: optax.GradientTransformation,
  *,
  average: bool,
) -> TrainState:
  """Initialises a state, from another run's weights if the card names one.

  A run that has a checkpoint of its own needs the other no longer.
  """
  if card.init_keep and card.init_from is None:
    raise settings_lib.ConfigError(
      'config.init_keep says which weights of config.init_from are left out; '
      'set config.init_from.'
    )
  variables = jax.jit(task.init)(jax.random.key(card.seed))
  if card.init_from is not None and checkpoints.latest_step(folder) is None:
    loaded, _ = checkpoints.load_variables(card.init_from)
    if task.adapt is not None:
      other = checkpoints.read_config(card.init_from)
      loaded = task.adapt(variables, loaded, other)
    variables = trees.merge_strict(
      variables,
      loaded,
      keep=card.init_keep,
      source=f'config.init_from={card.init_from}',
    )
  adversary = None
  if task.game is not None:
    adversary = jax.jit(task.game.init)(jax.random.key(card.seed + 1))
  return TrainState.create(
    variables,
    optimizer,
    average=average,
    frozen=dict(task.frozen),
    adversary=adversary,
  )


def previous_total(
  folder: pathlib.Path, plan: intervals.Intervals
) -> int | None:
  """Returns for how many steps a run was to train until now, None if new.

  Raises:
    ConfigError: if it is to train for fewer now.
  """
  if not run_folder.is_claimed(folder):
    return None
  duration = checkpoints.read_config(folder)['card']['train']['duration']
  before = settings_lib.Duration(**duration).resolve(
    steps_per_epoch=plan.steps_per_epoch, total=None
  )
  if plan.total < before:
    raise settings_lib.ConfigError(
      f'config.train.duration may grow, but not shrink: {folder} trains for '
      f'{before} steps, and {plan.total} were asked for. Ask for at least '
      f'{before}, or begin a new run with its weights: another --workdir and '
      f'--config.init_from={folder}.'
    )
  return before


def compiled_steps(
  task: tasks.Task,
  optimizer: optax.GradientTransformation,
  settings: settings_lib.Optim,
  runner: sharding.JitRunner,
  *,
  seed: int,
  schedule: optax.Schedule,
  say: Callable[[str], None],
) -> Callable[[int], Callable]:
  """Returns what gives the compiled step that follows so many steps.

  There is one, or with a discriminator one for each phase, compiled when it
  begins.

  Args:
    task: what is trained.
    optimizer: updates the parameters.
    settings: section `optim`.
    runner: compiles.
    seed: of all randomness.
    schedule: the learning rate, for the metrics.
    say: is told of each phase but the first.
  """

  @functools.cache
  def compiled(phase):
    if phase is None:
      step = update.make_step(
        task.loss_fn,
        optimizer,
        settings,
        seed=seed,
        schedule=schedule,
        axis_name=runner.axis_name,
      )
    else:
      step = adversarial.make_step(
        task.game, phase, optimizer, settings, seed=seed, schedule=schedule
      )
    return runner.compile(step)

  def step_after(done: int) -> Callable:
    phase = task.game and task.game.phase(done)
    before = compiled.cache_info().currsize
    step = compiled(phase)
    if 0 < before < compiled.cache_info().currsize:
      say(f'step {done + 1} begins another phase, {phase}: compiling it ...')
    return step

  return step_after


def config_of(
  config_card: Any,
  card: settings_lib.Card,
  folder: pathlib.Path,
  datasets: datasets_lib.Datasets,
) -> dict[str, Any]:
  """Returns what `config.json` holds.

  Args:
    config_card: the card as it was given.
    card: the same, parsed.
    folder: of the run.
    datasets: its images.

  Raises:
    RunError: if the folder holds the run of another config, or foreign files.
  """
  config = {
    'card': run_folder.plain(config_card),
    'data': datasets.facts,
    'vq_jax': vq_jax.__version__,
  }
  run_folder.refuse_another(folder, config)
  if run_folder.is_claimed(folder):
    return run_folder.with_changes(folder, config['card'])
  if card.task == 'prior':
    config['labels'] = prior_tasks.labels(card, datasets.facts['num_classes'])
  return config
