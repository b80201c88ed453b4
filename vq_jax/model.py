"""Model: an autoencoder, perhaps a prior, and their variables, ready to use."""

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax import build
from vq_jax import checkpoints
from vq_jax import generation
from vq_jax import latent_space
from vq_jax.priors import vocab as vocab_lib
from vq_jax.utils import trees

Array = jax.Array | np.ndarray
Indices = Array | tuple[Array, ...]

AUTOENCODER = 'autoencoder'  # the folder of a prior's own autoencoder


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

  def encode(self, images: Array) -> Indices:
    """Encodes images to indices.

    Args:
      images: [B, H, W, C], uint8 in [0, 255] or float in [0, 1].

    Returns:
      int32 [B, h, w, *index_shape]; a tuple of them, coarsest first, if the
      autoencoder has several grids.

    Raises:
      ValueError: if the shape does not suit the autoencoder, or it has no
        codes.
    """
    self._require_codes()
    self._check_images(images)
    return _encode(
      self.autoencoder, self.variables['autoencoder'], jnp.asarray(images)
    )

  def decode(self, indices: Indices) -> jax.Array:
    """Decodes indices, as `encode` gives them, to float32 images in [0, 1].

    Raises:
      ValueError: if an index is no code or the shapes are not those of grids.
    """
    self._require_codes()
    grids = self.autoencoder.code_grids
    parts = indices if isinstance(indices, tuple | list) else (indices,)
    if len(parts) != len(grids):
      raise ValueError(
        f'this autoencoder has {len(grids)} grid(s) of codes, coarsest first; '
        f'got {len(parts)}.'
      )
    checked = tuple(
      generation.checked_indices(part, grid)
      for part, grid in zip(parts, grids, strict=True)
    )
    return _decode(
      self.autoencoder,
      self.variables['autoencoder'],
      checked if len(grids) > 1 else checked[0],
    )

  def reconstruct(self, images: Array) -> jax.Array:
    """Encodes and decodes images; see `encode` for what they must be."""
    if self.autoencoder.code_grids:
      return self.decode(self.encode(images))
    self._check_images(images)
    return latent_space.decode(self, latent_space.encode(self, images))

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
    sharding: jax.sharding.Sharding | None = None,
  ) -> jax.Array:
    """Draws new images.

    Options left at None take the values of the run's card (section
    `sampling`); a prior without classes is not guided, whatever its card says.
    A VAE draws latents from N(0, I), and has no options.

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
      sharding: how such a batch is spread over devices; None for one device.

    Returns:
      float32 [B, H, W, C] in [0, 1].

    Raises:
      ValueError: if there is no prior, or labels are out of range.
    """
    if self.prior is None:
      return self._generate_without_prior(rng, labels, num)
    labels, num = generation.class_labels(labels, num, self.vocab.num_classes)
    if guidance is None and not self.vocab.num_classes:
      guidance = 0.0
    sampling = self._sampling(
      steps=steps,
      guidance=guidance,
      choice_temperature=choice_temperature,
      temperature=temperature,
    )
    rng = jax.random.key(rng) if isinstance(rng, int | np.integer) else rng
    size = min(batch_size, num)
    made = []
    for i in range(math.ceil(num / size)):
      part = labels
      if labels is not None:  # always `size` of them, for one compilation
        part = np.resize(labels[i * size : (i + 1) * size], size)
      key = jax.random.fold_in(rng, i)
      made.append(self._generate_batch(key, part, size, sampling, sharding))
    return jnp.concatenate(made)[:num]

  def _generate_without_prior(self, rng, labels, num):
    """Decodes draws from N(0, I), which the latents of a VAE follow."""
    if not isinstance(self.autoencoder, autoencoders.VAE):
      raise ValueError(
        'this run holds an autoencoder alone, which cannot generate. Load the '
        'run of a prior that was trained on its codes; for an AE, fit a '
        'mixture to its latents (vq_jax.latent_space).'
      )
    if labels is not None:
      raise ValueError('a VAE knows no classes; leave labels out.')
    rng = jax.random.key(rng) if isinstance(rng, int | np.integer) else rng
    num = generation.checked_num(16 if num is None else num)
    z = jax.random.normal(rng, (num, *latent_space.latent_shape(self)))
    return latent_space.decode(self, z)

  def _sampling(self, **options):
    """Returns the card's sampling, but for the options that are given."""
    card = generation.Sampling(**self.config['card'].get('sampling', {}))
    given = {k: v for k, v in options.items() if v is not None}
    return dataclasses.replace(card, **given)

  def _generate_batch(self, rng, labels, size, sampling, sharding):
    """Draws `size` images, spread over devices as `sharding` says."""
    tokens = np.full(
      (size, self.prior.num_tokens), self.vocab.mask_id, np.int32
    )
    if sharding is not None:
      tokens, labels = jax.device_put((tokens, labels), sharding)
    decoding, guidance = sampling.strategies()
    tokens = generation.sample_tokens(
      self.prior,
      self.variables['prior'],
      rng,
      tokens,
      labels,
      decoding=decoding,
      guidance=guidance,
    )
    return _decode(
      self.autoencoder,
      self.variables['autoencoder'],
      tokens.reshape(size, *self.prior.grid),
    )

  def _require_codes(self) -> None:
    if not self.autoencoder.code_grids:
      raise ValueError(
        'this autoencoder has no codes; use vq_jax.latent_space for its '
        'latents.'
      )

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

  if config['card']['task'] != 'prior':
    module = build.autoencoder_of(config)
    variables = checked(lambda rng: build.init_autoencoder(module, config, rng))
    return Model(
      autoencoder=module,
      variables={'autoencoder': variables},
      config=config,
    )
  inner = load(folder / AUTOENCODER)
  prior = build.prior_of(config, inner.autoencoder)
  return Model(
    autoencoder=inner.autoencoder,
    prior=prior,
    vocab=prior.vocab,
    variables={
      'autoencoder': inner.variables['autoencoder'],
      'prior': checked(lambda rng: build.init_prior(prior, rng)),
    },
    config=config,
  )


def export_autoencoder(model: Model, folder: str | os.PathLike) -> None:
  """Writes the autoencoder alone as a run folder; see `checkpoints.export`."""
  if model.prior is not None:
    raise ValueError('this run is a prior; give the run of its autoencoder.')
  checkpoints.export(folder, model.config, model.variables['autoencoder'])
