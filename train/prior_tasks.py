"""What the one loop must know of priors, and of what judges them."""

import dataclasses
import functools
import pathlib
import shutil
import types
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.experimental import multihost_utils

import vq_jax
from train import config as config_lib
from train import evaluation
from train import prior_evaluation
from train import settings as settings_lib
from train import sharding
from train.steps import causal
from train.steps import masked
from train.steps import token_critic
from train.tasks import Evaluation
from train.tasks import Task
from vq_jax import checkpoints
from vq_jax import data
from vq_jax import model as model_lib
from vq_jax import samplers
from vq_jax import tokenization
from vq_jax.config import modules
from vq_jax.config import registry
from vq_jax.utils import trees

Tree = Any


def prior_task(
  card: settings_lib.PriorCard,
  config: Mapping[str, Any],
  runner: sharding.JitRunner,
  batches: data.EvalBatches,
  pictures: int,
  inner: model_lib.Model,
  coarser: model_lib.Model | None,
) -> Task:
  """Stage two.

  Args:
    card: the parsed card.
    config: what `config.json` holds.
    runner: compiles the evaluation.
    batches: of held-out images or codes.
    pictures: images in a grid.
    inner: the autoencoder of the run's own folder.
    coarser: the prior of the next coarser level, of the run's own folder.
  """
  module = inner.autoencoder
  prior = modules.make_prior(config, module)
  settings = prior_loss(card)
  samplers.sampler_for(prior, card.sampling)
  sums_fn = runner.compile_eval(
    prior_evaluation.sums_of(prior, module, settings, card.level)
  )
  frozen = {'autoencoder': dict(inner.variables['autoencoder'])}

  def evaluate(variables: Tree) -> Evaluation:
    both = {**frozen, 'prior': variables}
    sums = evaluation.sum_over(sums_fn, both, batches, runner)
    model = model_lib.Model(
      autoencoder=module,
      prior=prior,
      vocab=prior.vocab,
      variables=jax.device_get(both),
      config=config,
      autoencoder_config=inner.config,
      coarser=coarser,
    )
    shown = {}
    if card.level + 1 == len(module.token_grids):  # the last of the levels
      shown['samples'] = evaluation.sample_grid(model, pictures)
    return Evaluation(
      metrics=prior_evaluation.prior_metrics(
        sums, prior.num_tokens, config['data']['image_shape']
      ),
      pictures=shown,
    )

  return Task(
    init=lambda rng: modules.init_prior(prior, rng),
    loss_fn=step_of(card).make_loss(
      prior, module, settings, level=card.level, axis_name=runner.axis_name
    ),
    frozen=frozen,
    evaluate=evaluate,
    adapt=functools.partial(with_own_labels, prior, config),
  )


def same_classes(first: Sequence[str], second: Sequence[str]) -> bool:
  """Returns whether two lists name the same classes in the same order.

  Names that are only numbers, as of released weights, stand for any.
  """
  numbers = [str(i) for i in range(len(first))]
  either = list(first) == numbers or list(second) == numbers
  return len(first) == len(second) and (either or list(first) == list(second))


def with_own_labels(
  prior: nn.Module,
  own_config: Mapping[str, Any],
  variables: Tree,
  loaded: Tree,
  config: Mapping[str, Any],
) -> Tree:
  """Gives another prior's tables our labels, if it has others.

  Args:
    prior: the module.
    own_config: what the `config.json` of its run holds.
    variables: its new variables.
    loaded: the variables of the other prior.
    config: the `config.json` of the other.

  Returns:
    `loaded`, in which only the rows of codes and mask are the other's.
  """
  tables = getattr(prior, 'id_tables', ())
  own = dataclasses.asdict(prior.vocab)
  other = config.get('labels', own)
  same = same_classes(*(c['data']['class_names'] for c in (config, own_config)))
  if same and all(own[name] == value for name, value in other.items()):
    return loaded
  vocab = dataclasses.replace(prior.vocab, **other)
  new, found = trees.flatten(variables), trees.flatten(loaded)
  for name in (f'params/{table}' for table in tables):
    # Of other codes it is left as it is, and does not fit.
    if name in found and len(found[name]) in (vocab.size, vocab.num_known):
      found[name] = prior.vocab.take_over(vocab, found[name], new[name])
  return trees.unflatten(found)


def critic_task(
  card: settings_lib.CriticCard,
  config: Mapping[str, Any],
  runner: sharding.JitRunner,
  batches: data.EvalBatches,
  pictures: int,
  generator: model_lib.Model,
) -> Task:
  """A critic of the tokens of `generator`, of the run's own folder."""
  critic = modules.make_critic(config, generator.prior)
  settings = config_lib.section(token_critic.Loss, 'loss', card.loss)
  samplers.sampler_for(generator.prior, card.sampling)
  parts = (generator.prior, generator.autoencoder, settings)
  level = generator.config['card'].get('level', 0)
  task = token_critic.judged(critic, *parts, level)
  sums_fn = runner.compile_eval(prior_evaluation.critic_sums(task, critic))
  frozen = {k: dict(v) for k, v in generator.variables.items()}

  def evaluate(variables: Tree) -> Evaluation:
    all_variables = {**frozen, 'critic': variables}
    sums = evaluation.sum_over(sums_fn, all_variables, batches, runner)
    model = dataclasses.replace(
      generator,
      critic=critic,
      variables=jax.device_get(all_variables),
      config=config,
    )
    return Evaluation(
      metrics=prior_evaluation.critic_metrics(sums),
      pictures={'samples': evaluation.sample_grid(model, pictures)},
    )

  return Task(
    init=lambda rng: modules.init_prior(critic, rng),
    loss_fn=token_critic.make_loss(critic, *parts, level),
    frozen=frozen,
    evaluate=evaluate,
  )


def step_of(card: settings_lib.PriorCard) -> types.ModuleType:
  """Returns the module of `train.steps` that trains a card's prior."""
  kind = registry.lookup(
    registry.REGISTRY['prior'], card.model.get('type'), 'prior type'
  )
  return causal if hasattr(kind, 'step') else masked


def prior_loss(card: settings_lib.PriorCard) -> masked.Loss | causal.Loss:
  """Returns section `loss` of a prior's card, as its type wants it."""
  return config_lib.section(step_of(card).Loss, 'loss', card.loss)


def labels(card: settings_lib.PriorCard, num_classes: int) -> dict[str, Any]:
  """Returns what a prior's vocabulary holds beside the codes.

  It is conditional on the class if the card says so and the data has more
  than one, or has one that takes the place of those of `init_from`; it has a
  null class if training drops labels.
  """
  before = checkpoints.read_config(card.init_from) if card.init_from else {}
  several = max(num_classes, before.get('labels', {}).get('num_classes', 0)) > 1
  conditional = card.conditional and several
  return {
    'num_classes': num_classes if conditional else 0,
    'null_class': conditional and prior_loss(card).label_drop > 0,
  }


def own_copy(
  folder: pathlib.Path,
  source: str,
  export: Callable[[model_lib.Model, pathlib.Path], None],
  *,
  copied: bool,
) -> None:
  """Copies a run into a folder of another, which then needs nothing else.

  Args:
    folder: where the copy is to lie.
    source: a run folder.
    export: writes the part of it that is needed.
    copied: whether the run has begun, so that the copy is there.

  Raises:
    RunError: if `source` is no run.
    ValueError: if it is one of another kind.
  """
  if copied:
    return
  model = vq_jax.load(source)
  if jax.process_index() == 0:
    shutil.rmtree(folder, ignore_errors=True)
  multihost_utils.sync_global_devices(f'room for {folder.name}')
  export(model, folder)
  multihost_utils.sync_global_devices(f'{folder.name} copied')


def check_coarser(
  card: settings_lib.PriorCard,
  coarser: model_lib.Model,
  inner: model_lib.Model,
) -> None:
  """Raises ConfigError unless a prior can go on from a coarser one."""
  level = coarser.config['card'].get('level', 0)
  if level != card.level - 1:
    raise settings_lib.ConfigError(
      f'config.coarser must be the prior of level {card.level - 1}; '
      f'{card.coarser} is that of level {level}.'
    )
  if tokenization.fingerprint(coarser) != tokenization.fingerprint(inner):
    raise settings_lib.ConfigError(
      f'{card.coarser} was trained on the codes of another autoencoder than '
      'config.autoencoder.'
    )


def check_images(autoencoder: model_lib.Model, shape: tuple[int, ...]) -> None:
  """Raises ConfigError unless a prior's images are its autoencoder's kind."""
  want = tuple(autoencoder.config['data']['image_shape'])
  if tuple(shape) != want:
    raise settings_lib.ConfigError(
      f'the autoencoder was trained on images {want}, but the data gives '
      f'{tuple(shape)}. Use the same config.data.channels and preprocessing.'
    )


def check_tokens(
  autoencoder: model_lib.Model, tokens: data.TokenSource
) -> None:
  """Raises ConfigError unless tokens were made by a prior's own autoencoder."""
  made_by = tokens.record['tokenizer']
  own = tokenization.fingerprint(autoencoder)
  if made_by != own:
    raise settings_lib.ConfigError(
      f'{tokens.name} was made by another tokenizer ({made_by[:12]}) than '
      f'config.autoencoder ({own[:12]}). Give the run that made the tokens, or '
      'make them anew with: vqjax tokenize'
    )
