"""Model: an autoencoder, perhaps a prior, and their variables, ready to use."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import build
from vq_jax import checkpoints
from vq_jax import samplers
from vq_jax.priors import vocab as vocab_lib
from vq_jax.utils import trees

Array = jax.Array | np.ndarray

AUTOENCODER = 'autoencoder'  # the folder of a prior's own autoencoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
  """How a prior is sampled: section `sampling` of its card.

  Attributes:
    steps: decoding steps.
    schedule: of the masked fraction, by name; see `build.SCHEDULES`.
    choice_temperature: randomness in which positions are decided first.
    temperature: of the drawn tokens; 0 takes the most likely ones.
    guidance: strength of classifier-free guidance; 0 is none.
    guidance_schedule: of that strength; see `build.GUIDANCE_SCHEDULES`.
  """

  steps: int = 8
  schedule: str = 'cosine'
  choice_temperature: float = 4.5
  temperature: float = 1.0
  guidance: float = 0.0
  guidance_schedule: str = 'ramp'

  def strategies(self) -> tuple[samplers.MaskGITDecoding, samplers.Guidance]:
    """Returns what the sampler takes."""
    decoding = samplers.MaskGITDecoding(
      steps=self.steps,
      schedule=build.lookup(build.SCHEDULES, self.schedule, 'mask schedule'),
      choice_temperature=self.choice_temperature,
      choice=samplers.TokenChoice(temperature=self.temperature),
    )
    schedule = build.lookup(
      build.GUIDANCE_SCHEDULES, self.guidance_schedule, 'guidance schedule'
    )
    return decoding, samplers.Guidance(scale=self.guidance, schedule=schedule)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
  """What `vq_jax.load` returns.

  Attributes:
    autoencoder: Flax module, images <-> codes.
    prior: Flax module, tokens -> logits; None for an autoencoder alone.
    vocab: what the prior's ids mean; None without a prior.
    variables: `{'autoencoder': ..., 'prior': ...}`, each what its module
      applies with, averaged parameters where training kept them.
    config: the run's `config.json`.
  """

  autoencoder: nn.Module
  variables: Mapping[str, Any]
  config: Mapping[str, Any]
  prior: nn.Module | None = None
  vocab: vocab_lib.Vocab | None = None

  def encode(self, images: Array) -> jax.Array:
    """Encodes images to indices.

    Args:
      images: [B, H, W, C], uint8 in [0, 255] or float in [0, 1].

    Returns:
      int32 [B, h, w].

    Raises:
      ValueError: if the shape does not suit the autoencoder.
    """
    self._check_images(images)
    return _encode(
      self.autoencoder, self.variables['autoencoder'], jnp.asarray(images)
    )

  def decode(self, indices: Array) -> jax.Array:
    """Decodes indices int32 [B, h, w] to float32 images in [0, 1].

    Raises:
      ValueError: if an index is no code or the array is not [B, h, w].
    """
    indices = np.asarray(indices)
    size = self.autoencoder.codebook_size
    if indices.ndim < 3 or not np.issubdtype(indices.dtype, np.integer):
      raise ValueError(
        'indices must be integers [B, h, w]; got '
        f'{indices.dtype} {indices.shape}.'
      )
    if indices.size and not 0 <= indices.min() <= indices.max() < size:
      raise ValueError(
        f'indices must lie in [0, {size}); got values from {indices.min()} to '
        f'{indices.max()}. Tokens that are still masked cannot be decoded.'
      )
    return _decode(
      self.autoencoder,
      self.variables['autoencoder'],
      jnp.asarray(indices, jnp.int32),
    )

  def reconstruct(self, images: Array) -> jax.Array:
    """Encodes and decodes images; see `encode` and `decode`."""
    return self.decode(self.encode(images))

  def generate(
    self,
    rng: jax.Array | int,
    *,
    labels: Array | int | None = None,
    num: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    choice_temperature: float | None = None,
    temperature: float | None = None,
    batch_size: int = 100,
  ) -> jax.Array:
    """Draws new images.

    Options left at None take the values of the run's card (section
    `sampling`).

    Args:
      rng: key, or a seed.
      labels: int [B], one class per image, or one class for all `num`. By
        default the classes follow one another.
      num: how many images, if `labels` does not say; 16 by default.
      steps: decoding steps.
      guidance: strength of classifier-free guidance; 0 is none.
      choice_temperature: randomness in which positions are decided first.
      temperature: of the drawn tokens.
      batch_size: images decoded at a time.

    Returns:
      float32 [B, H, W, C] in [0, 1].

    Raises:
      ValueError: if there is no prior, or labels are out of range.
    """
    if self.prior is None:
      raise ValueError(
        'this run holds an autoencoder alone, which cannot generate. Load the '
        'run of a prior that was trained on its codes.'
      )
    labels, num = self._labels(labels, num)
    given = {
      'steps': steps,
      'guidance': guidance,
      'choice_temperature': choice_temperature,
      'temperature': temperature,
    }
    given = {name: value for name, value in given.items() if value is not None}
    card = Sampling(**self.config['card']['sampling'])
    decoding, guide = dataclasses.replace(card, **given).strategies()
    rng = jax.random.key(rng) if isinstance(rng, int) else rng
    size = min(batch_size, num)
    made = []
    for i, start in enumerate(range(0, num, size)):
      label = None
      if labels is not None:
        label = np.resize(labels[start : start + size], size)
      tokens = jnp.full((size, self.prior.num_tokens), self.vocab.mask_id)
      filled = sample_tokens(
        self.prior,
        self.variables['prior'],
        jax.random.fold_in(rng, i),
        tokens,
        label,
        decoding=decoding,
        guidance=guide,
      )
      made.append(self.decode(filled.reshape(size, *self.prior.grid)))
    return jnp.concatenate(made)[:num]

  def _labels(self, labels, num):
    classes = self.vocab.num_classes
    if labels is None:
      num = 16 if num is None else num
      labels = np.arange(num) % classes if classes else None
    else:
      labels = np.asarray(labels, np.int32)
      if labels.ndim == 0:
        labels = np.full(1 if num is None else num, labels)
      num = len(labels) if num is None else num
    if num < 1:
      raise ValueError(f'num must be at least 1; got {num}.')
    if labels is None:
      return None, num
    if not classes:
      raise ValueError('this prior knows no classes; leave labels out.')
    if labels.shape != (num,):
      raise ValueError(
        f'labels must be one class per image, [{num}]; got {labels.shape}.'
      )
    if labels.min() < 0 or labels.max() >= classes:
      raise ValueError(
        f'labels must lie in [0, {classes}); got {labels.min()} to '
        f'{labels.max()}.'
      )
    return labels.astype(np.int32), num

  def _check_images(self, images: Array) -> None:
    want = tuple(self.config['data']['image_shape'])
    if images.ndim != 4 or images.shape[-1] != want[-1]:
      raise ValueError(
        f'images must be [B, H, W, {want[-1]}]; got {images.shape}.'
      )


@functools.partial(jax.jit, static_argnames='autoencoder')
def _encode(autoencoder, variables, images):
  return autoencoder.apply(variables, images, method='encode').indices


@functools.partial(jax.jit, static_argnames='autoencoder')
def _decode(autoencoder, variables, indices):
  image = autoencoder.apply(variables, indices, method='decode_indices')
  return jnp.clip(image, 0, 1)


@functools.partial(jax.jit, static_argnames=('prior', 'decoding', 'guidance'))
def sample_tokens(
  prior: nn.Module,
  variables: Mapping[str, Any],
  rng: jax.Array,
  tokens: jax.Array,
  label: jax.Array | None,
  *,
  decoding: samplers.MaskGITDecoding,
  guidance: samplers.Guidance,
) -> jax.Array:
  """Fills the masked tokens int32 [B, N] by a prior; see `samplers.decode`."""
  null = prior.vocab.null_label if guidance.scale else None
  apply = functools.partial(prior.apply, variables)
  return samplers.decode(
    rng,
    guidance.logits_fn(apply, label, null),
    tokens,
    decoding,
    mask_id=prior.vocab.mask_id,
  )


def build_autoencoder(config: Mapping[str, Any]) -> nn.Module:
  """Builds the autoencoder that a run's `config.json` describes."""
  return build.build('autoencoder', config['card']['model'])


def build_prior(config: Mapping[str, Any], autoencoder: nn.Module) -> nn.Module:
  """Builds the prior that a run's `config.json` describes.

  It is conditional on the class if the card says so and the data has more
  than one; it has a null class if training drops labels.
  """
  card, data = config['card'], config['data']
  conditional = card['conditional'] and data['num_classes'] > 1
  vocab = vocab_lib.Vocab(
    codebook_size=autoencoder.codebook_size,
    num_classes=data['num_classes'] if conditional else 0,
    null_class=bool(conditional and card['loss']['label_drop'] > 0),
  )
  height, width, _ = data['image_shape']
  grid = (height // autoencoder.stride, width // autoencoder.stride)
  return build.build('prior', card['model'], vocab=vocab, grid=grid)


def init_autoencoder(
  autoencoder: nn.Module, config: Mapping[str, Any], rng: jax.Array
) -> dict[str, Any]:
  """Initialises an autoencoder's variables."""
  image = jnp.zeros((1, *config['data']['image_shape']))
  return autoencoder.init(rng, image)


def init_prior(prior: nn.Module, rng: jax.Array) -> dict[str, Any]:
  """Initialises a prior's variables."""
  tokens = jnp.zeros((1, prior.num_tokens), jnp.int32)
  label = jnp.zeros(1, jnp.int32) if prior.vocab.num_classes else None
  return prior.init(rng, tokens, label=label)


def load(folder: str | os.PathLike) -> Model:
  """Loads a run: an autoencoder's, or a prior's with its autoencoder.

  Raises:
    RunError: if the folder is no run, or holds no complete checkpoint.
    ValueError: if the checkpoint does not fit the config.
  """
  folder = pathlib.Path(folder)
  config = checkpoints.read_config(folder)
  variables, step = checkpoints.load_variables(folder)
  source = f'the checkpoint {folder / checkpoints.CHECKPOINTS / str(step)}'

  def checked(init):
    shapes = jax.eval_shape(init, jax.random.key(0))
    return trees.merge_strict(shapes, variables, source=source)

  if config['card']['task'] == 'autoencoder':
    module = build_autoencoder(config)
    variables = checked(lambda rng: init_autoencoder(module, config, rng))
    return Model(
      autoencoder=module,
      variables={'autoencoder': variables},
      config=config,
    )
  inner = load(folder / AUTOENCODER)
  prior = build_prior(config, inner.autoencoder)
  return Model(
    autoencoder=inner.autoencoder,
    prior=prior,
    vocab=prior.vocab,
    variables={
      'autoencoder': inner.variables['autoencoder'],
      'prior': checked(lambda rng: init_prior(prior, rng)),
    },
    config=config,
  )


def export_autoencoder(model: Model, folder: str | os.PathLike) -> None:
  """Writes the autoencoder alone as a run folder; see `checkpoints.export`."""
  if model.prior is not None:
    raise ValueError('this run is a prior; give the run of its autoencoder.')
  checkpoints.export(folder, model.config, model.variables['autoencoder'])
