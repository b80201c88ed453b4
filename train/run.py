"""Opening a run: its data, its task, its first state, its optimizer."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import optax

import vq_jax
from train import config as config_lib
from train import log
from train import parallel
from train import prior_tasks
from train import run_folder
from train import settings as settings_lib
from train import tasks
from train.state import TrainState
from train.steps import adversarial
from train.steps import update
from vq_jax import build
from vq_jax import checkpoints
from vq_jax import data
from vq_jax import runs
from vq_jax.utils import trees


@dataclasses.dataclass(frozen=True, kw_only=True)
class Datasets:
  """The images of a run.

  Attributes:
    train: source of training images.
    eval_batches: of held-out images.
    settings: section `data`.
    facts: what `config.json` tells of them.
  """

  train: data.Source
  eval_batches: data.EvalBatches
  settings: settings_lib.Data
  facts: dict[str, Any]


def open_datasets(
  card: settings_lib.Card, runner: parallel.JitRunner
) -> Datasets:
  """Opens both splits, in memory where they fit.

  Raises:
    DataError: if they cannot be read.
    ConfigError: if batches do not divide over the devices.
  """
  settings = config_lib.section(settings_lib.Data, 'data', card.data)
  parallel.check_batch('batch_size', settings.batch_size, runner)
  parallel.check_batch('eval_batch_size', settings.eval_batch_size, runner)

  def source(split):
    found = data.open_source(
      settings.source,
      split,
      data_dir=settings.data_dir,
      channels=settings.channels,
      max_unreadable=settings.max_unreadable,
    )
    fits = settings.in_memory and data.fits_in_memory(found)
    return data.in_memory(found) if fits else found

  train, held_out = source(settings.train_split), source(settings.eval_split)
  eval_batches = data.eval_batches(
    held_out,
    batch_size=settings.eval_batch_size,
    preprocess=build.preprocess(settings.eval_preprocess),
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    limit=settings.eval_limit,
  )
  if isinstance(train, data.CodesSource):
    shape = train.record['image_shape']
  else:
    shape = tasks.first_images(eval_batches, 1).shape[1:]
  facts = {
    'image_shape': [int(s) for s in shape],
    'num_classes': train.num_classes,
    'class_names': list(train.class_names),
  }
  return Datasets(
    train=train, eval_batches=eval_batches, settings=settings, facts=facts
  )


def train_batches(datasets: Datasets, seed: int, runner: parallel.JitRunner):
  """Starts the endless, shuffled batches, put on the devices ahead of time."""
  settings = datasets.settings
  return data.train_batches(
    datasets.train,
    batch_size=settings.batch_size,
    seed=seed,
    preprocess=build.preprocess(settings.train_preprocess),
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    workers=settings.workers,
    prefetch=settings.prefetch,
    transfer=runner.transfer,
  )


def make_task(
  card: settings_lib.Card,
  folder: pathlib.Path,
  config: Mapping[str, Any],
  datasets: Datasets,
  runner: parallel.JitRunner,
  plan: log.Plan,
) -> tasks.Task:
  """Builds the task that a card names."""
  codes = isinstance(datasets.train, data.CodesSource)
  batches, pictures = datasets.eval_batches, plan.pictures
  if card.task in ('autoencoder', 'vae') and codes:
    raise settings_lib.ConfigError(
      f'the task {card.task!r} learns from images; {datasets.train.name} holds '
      'codes.'
    )
  if card.task == 'autoencoder':
    return tasks.autoencoder_task(card, config, runner, batches, plan)
  if card.task == 'vae':
    return tasks.vae_task(card, config, runner, batches, plan)
  inner, coarser = _own_models(card, folder)
  prior_tasks.check_images(inner, datasets.facts['image_shape'])
  if codes:
    prior_tasks.check_codes(inner, datasets.train)
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


def compiled_steps(
  task: tasks.Task,
  optimizer: optax.GradientTransformation,
  settings: settings_lib.Optim,
  runner: parallel.JitRunner,
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
  datasets: Datasets,
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
    return checkpoints.read_config(folder)
  if card.task == 'prior':
    config['labels'] = prior_tasks.labels(card, datasets.facts['num_classes'])
  return config
