"""What the tasks that train a prior on tokens have in common."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

import vq_jax
from train.tasks import checks
from train.tasks import copies
from train.tasks import image_grids
from train.tasks import image_metrics
from train.tasks.base import Setup
from train.tasks.base import Task
from vq_jax import priors
from vq_jax import samplers
from vq_jax.config import modules
from vq_jax.config import schema
from vq_jax.data import tokens as tokens_lib
from vq_jax.model import Model
from vq_jax.runs import export as export_lib
from vq_jax.runs import layout
from vq_jax.runs import load as load_lib
from vq_jax.runs import locations
from vq_jax.utils import fields
from vq_jax.utils import images
from vq_jax.utils import trees
from vq_jax.utils.trees import Tree


def get_tokens(
  autoencoder: nn.Module,
  variables: Tree,
  batch: Mapping[str, jax.Array],
  level: int = 0,
) -> tuple[jax.Array, jax.Array | None]:
  """Returns the tokens of a batch, and those of the parent level.

  The frozen autoencoder encodes images, unless the batch holds their tokens.

  Args:
    autoencoder: module with token grids.
    variables: its variables.
    batch: with `image`, or with tokens as `data.TokenSource` gives them.
    level: index of the token grid; 0 is the coarsest.

  Returns:
    int32 [B, N], row by row, and the parent's tokens [B, N'], or None at
    level 0.
  """
  names = tokens_lib.feature_names(len(autoencoder.token_grids))
  if names[0] in batch:
    grids = [batch[name] for name in names]
  else:
    indices = autoencoder.apply(
      variables, images.to_float(batch['image']), method='encode'
    ).indices
    grids = indices if isinstance(indices, tuple) else (indices,)
  flat = [grid.reshape(grid.shape[0], -1) for grid in grids]
  return flat[level], flat[level - 1] if level else None


def get_label(
  vocab: priors.Vocab, batch: Mapping[str, jax.Array]
) -> jax.Array | None:
  """Returns the labels of a batch, int32 [B], or None without classes."""
  return batch['label'] if vocab.num_classes else None


def get_example_keys(batch: Mapping[str, jax.Array]) -> jax.Array:
  """Returns the keys [B] of an evaluation, the same in each evaluation.

  The key of an example depends on its position in the data set alone.
  """
  return samplers.example_keys(jax.random.key(0), batch['index'])


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorConfig(schema.Config):
  """What the configs of all priors have in common.

  Attributes:
    model: spec of the prior.
    autoencoder: run folder of the autoencoder whose tokens are learned.
    conditional: whether the prior is conditional on the classes of the data.
    level: index of the token grid that is learned; 0 is the coarsest.
    parent_prior: run folder of the prior of the level before; needed above
      level 0.
  """

  model: Annotated[Mapping, schema.Spec('prior')]
  autoencoder: str
  conditional: bool = True
  level: fields.NonNegativeInt = 0
  parent_prior: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if bool(self.level) != (self.parent_prior is not None):
      raise schema.ConfigError(
        'config.parent_prior is the run of the prior of level '
        'config.level - 1, so it must be given above level 0, and only there; '
        f'got level {self.level} and parent_prior {self.parent_prior!r}.'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig(schema.SubConfig):
  """What the section `config.loss` of all priors has in common.

  Attributes:
    label_drop: probability with which the label is dropped, for guidance; 0
      leaves the prior without a null class.
  """

  label_drop: fields.Fraction = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorTask(Task):
  """Trains a prior; a subclass defines what it predicts.

  Attributes:
    causal: whether the prior that is trained must be causal; see
      `vq_jax.priors.Prior`.
    config: the config section `loss`.
  """

  trained: ClassVar[str] = 'prior'
  causal: ClassVar[bool]

  config: LossConfig

  @classmethod
  def create(cls, setup: Setup) -> 'PriorTask':
    """Returns the task that a config describes."""
    tokenizer, parent = copy_models(setup)
    checks.check_image_shape(tokenizer, setup.image_shape)
    checks.check_tokens(tokenizer, setup.source)
    config = setup.config.loss
    labels = setup.run_config.get('labels') or make_labels(
      setup, config.label_drop
    )
    run_config = {**setup.run_config, 'labels': labels}
    prior = modules.make_prior(run_config, tokenizer.autoencoder)
    if prior.causal != cls.causal:
      other = 'maskgit' if cls.causal else 'autoregressive'
      raise schema.ConfigError(
        f'the task {setup.config.task!r} does not train a '
        f'{type(prior).__name__}. Use the task {other!r}.'
      )
    model = load_lib.make_model(
      tokenizer.autoencoder,
      {'autoencoder': tokenizer.variables['autoencoder']},
      run_config,
      autoencoder_run_config=tokenizer.run_config,
      prior=prior,
      parent=parent,
    )
    return cls(
      model=model,
      config=config,
      only=setup.config.optim.only,
      axis_name=setup.axis_name,
    )

  @property
  def level(self) -> int:
    """Index of the token grid that the prior learns; 0 is the coarsest."""
    return self.model.level

  def init(self, rng: jax.Array) -> Tree:
    """Returns the first variables of the prior."""
    return modules.init_prior(self.model.prior, rng)

  def get_tokens(self, variables: Tree, batch: Mapping[str, jax.Array]):
    """Returns the tokens of a batch and of the parent level; see `get_tokens`.

    Args:
      variables: those of the autoencoder.
      batch: with images or tokens.
    """
    return get_tokens(self.model.autoencoder, variables, batch, self.level)

  def get_decoder_bits(
    self, variables: Mapping[str, Tree], batch: Mapping[str, jax.Array]
  ) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Returns -log2 p(image | tokens) of a batch, see `Task.evaluate`.

    Without a decoder that has a likelihood, or without images, it is {}.
    """
    autoencoder = self.model.autoencoder
    likelihood = getattr(autoencoder, 'likelihood', None)
    if likelihood is None or 'image' not in batch:
      return {}
    image = images.to_float(batch['image'])
    log_p, *_ = autoencoder.apply(
      variables['autoencoder'], image, method='likelihood_terms'
    )
    bits = image_metrics.get_decoder_bits(autoencoder, image, log_p)
    return {'decoder_bits_per_dim': (bits, jnp.ones(len(image)))}

  def summarize(self, means):
    """Returns `bits_per_token` instead of `nll`; see `Task.summarize`.

    It is what a token of an image costs: exactly for an autoregressive prior,
    at most for a masked one. `bits_per_dim`, where the decoder has a
    likelihood, is what an image costs, per pixel and channel.
    """
    found = dict(means)
    bits = found.pop('nll') / math.log(2)
    decoder_bits = found.pop('decoder_bits_per_dim', None)
    if decoder_bits is not None:
      dims = math.prod(self.model.info.image_shape)
      tokens_bits = bits * self.model.prior.num_tokens / dims
      found['bits_per_dim'] = decoder_bits + tokens_bits
    return {'bits_per_token': bits, **found}

  def make_images(self, model, batches, num):
    """Returns a grid of samples at the finest level; see `Task.make_images`."""
    del batches
    if self.level + 1 < len(model.autoencoder.token_grids):
      return {}
    return {'samples': image_grids.make_sample_grid(model, num)}

  def adapt_weights(self, variables, loaded, run_config):
    """Keeps the new rows of the labels, if the other run has other classes.

    The rows of the codes and of the mask token are those of the other run.
    """
    prior = self.model.prior
    tables = getattr(prior, 'id_tables', ())
    own = dataclasses.asdict(prior.vocab)
    other = run_config.get('labels', own)
    same = checks.have_same_classes(
      run_config['dataset']['class_names'], self.model.info.class_names
    )
    if same and all(own[name] == value for name, value in other.items()):
      return loaded
    vocab = dataclasses.replace(prior.vocab, **other)
    new, found = trees.flatten(variables), trees.flatten(loaded)
    for name in (f'params/{table}' for table in tables):
      # A table of another codebook is left as it is, and does not fit.
      if name in found and len(found[name]) in (vocab.size, vocab.num_known):
        found[name] = prior.vocab.take_over(vocab, found[name], new[name])
    return trees.unflatten(found)


def copy_models(setup: Setup) -> tuple[Model, Model | None]:
  """Copies the autoencoder and the parent prior into the run folder.

  Returns:
    the autoencoder, and the prior of the parent level or None.
  """
  config: PriorConfig = setup.config
  tokenizer = vq_jax.load(
    copies.copy_run(
      setup,
      layout.AUTOENCODER,
      config.autoencoder,
      export_lib.export_autoencoder,
    ),
    abstract=setup.abstract,
  )
  if config.parent_prior is None:
    return tokenizer, None

  def export(model, folder):
    checks.check_parent(model, tokenizer, config.level, config.parent_prior)
    export_lib.export_prior(model, folder)

  copy = copies.copy_run(setup, layout.PARENT, config.parent_prior, export)
  parent = load_lib.load_prior(copy, tokenizer, abstract=setup.abstract)
  return tokenizer, parent


def make_labels(setup: Setup, label_drop: float) -> dict[str, int | bool]:
  """Returns the fields of a prior's vocabulary beside the codebook.

  The prior is conditional on the class if the config says so and the data has
  more than one class, or one that replaces those of `init_from`. It has a null
  class if labels are dropped in training.
  """
  config: PriorConfig = setup.config
  num_classes = setup.run_config['dataset']['num_classes']
  init_from = config.init_from
  other = {}
  if init_from:
    other = layout.read_config(locations.resolve(init_from))
  most = max(num_classes, other.get('labels', {}).get('num_classes', 0))
  conditional = config.conditional and most > 1
  return {
    'num_classes': num_classes if conditional else 0,
    'null_class': conditional and label_drop > 0,
  }
