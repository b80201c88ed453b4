"""Model: an autoencoder, perhaps priors, and their variables, ready to use."""

import dataclasses
import functools
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax import checks
from vq_jax import generation
from vq_jax import latent_space
from vq_jax import samplers
from vq_jax.priors import vocab as vocab_lib

Array = jax.Array | np.ndarray
Indices = Array | tuple[Array, ...]


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
    autoencoder_config: the `config.json` of the autoencoder's own run.
    coarser: the prior of the next coarser level of codes, if there is one.
    critic: Flax module that tells real tokens from drawn ones, for the order
      'critic' of a MaskGIT, if the run holds one.
  """

  autoencoder: nn.Module
  variables: Mapping[str, Any]
  config: Mapping[str, Any]
  autoencoder_config: Mapping[str, Any]
  prior: nn.Module | None = None
  vocab: vocab_lib.Vocab | None = None
  coarser: 'Model | None' = None
  critic: nn.Module | None = None

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
    checks.check_channels(images, self.config['data']['image_shape'])
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
      checks.checked_indices(part, grid)
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
    checks.check_channels(images, self.config['data']['image_shape'])
    return latent_space.decode(self, latent_space.encode(self, images))

  def generate(
    self,
    rng: jax.Array | int,
    *,
    labels: Array | int | None = None,
    num: int | None = None,
    batch_size: int = 100,
    sharding: jax.sharding.Sharding | None = None,
    **sampling: Any,
  ) -> jax.Array:
    """Draws new images.

    A prior of a finer level draws the coarser ones first. A VAE draws latents
    from N(0, I), and has no options. How an image comes out depends on the rng
    and on its place, not on the batches.

    Args:
      rng: key, or a seed.
      labels: int [B], one class per image, or one class for all `num`. By
        default the classes follow one another.
      num: how many images, if `labels` does not say; 16 by default.
      batch_size: images made at a time.
      sharding: how such a batch is spread over devices; None for one device.
      **sampling: options of the sampler, such as `guidance` or `temperature`:
        the fields of `generation.MaskedSampling` for a MaskGIT, those of
        `generation.CausalSampling` for other priors. What is left out is as the
        run's card says (section `sampling`); but a prior without classes is not
        guided, whatever its card says.

    Returns:
      float32 [B, H, W, C] in [0, 1].

    Raises:
      ValueError: if there is no prior for all levels, labels are out of range,
        or an option does not suit the prior.
    """
    if self.prior is None:
      return self._generate_without_prior(rng, labels, num, sampling)
    return jnp.concatenate(
      list(
        self.generate_batches(
          rng,
          labels=labels,
          num=num,
          batch_size=batch_size,
          sharding=sharding,
          **sampling,
        )
      )
    )

  def generate_batches(
    self,
    rng: jax.Array | int,
    *,
    labels: Array | int | None = None,
    num: int | None = None,
    batch_size: int = 100,
    sharding: jax.sharding.Sharding | None = None,
    trace: bool = False,
    **sampling: Any,
  ) -> Iterator[jax.Array]:
    """Draws new images, batch by batch.

    Args:
      rng: see `generate`.
      labels: see `generate`.
      num: see `generate`.
      batch_size: see `generate`.
      sharding: see `generate`.
      trace: yield each image as it takes shape: [B, T, H, W, C]. A MaskGIT has
        a picture for each step, other priors one for each row, grey where
        nothing is decided.
      **sampling: see `generate`.

    Yields:
      float32 [B, H, W, C] in [0, 1].
    """
    checks.require_all_levels(self.config['card'], self.autoencoder)
    labels, num = checks.class_labels(labels, num, self.vocab.num_classes)
    checks.checked_num(batch_size, 'batch_size')
    plan = self._sampling(sampling)
    rng = jax.random.key(rng) if isinstance(rng, int | np.integer) else rng
    size = min(batch_size, num)
    for start in range(0, num, size):
      places = np.arange(start, start + size)  # always `size`: one compilation
      keys = samplers.example_keys(rng, places)
      part = None if labels is None else labels[places % num]
      if sharding is not None:
        keys, part = jax.device_put((keys, part), sharding)
      made = self._generate_batch(keys, part, plan, trace)
      yield made[: num - start]

  def _generate_without_prior(self, rng, labels, num, sampling):
    """Decodes draws from N(0, I), which the latents of a VAE follow."""
    if not isinstance(self.autoencoder, autoencoders.VAE):
      raise ValueError(
        'this run holds an autoencoder alone, which cannot generate. Load the '
        'run of a prior that was trained on its codes; for an AE, fit a '
        'mixture to its latents (vq_jax.latent_space).'
      )
    if labels is not None:
      raise ValueError('a VAE knows no classes; leave labels out.')
    if sampling:
      raise ValueError(
        f'a VAE has no sampling options; leave {", ".join(sampling)} out.'
      )
    rng = jax.random.key(rng) if isinstance(rng, int | np.integer) else rng
    num = checks.checked_num(16 if num is None else num)
    z = jax.random.normal(rng, (num, *latent_space.latent_shape(self)))
    return latent_space.decode(self, z)

  def _sampling(self, options) -> tuple[generation.Sampling, ...]:
    """Returns how each level is sampled, coarsest first."""
    coarser = self.coarser._sampling(options) if self.coarser else ()
    card = dict(self.config['card'].get('sampling', {}))
    if not self.vocab.num_classes:
      card.pop('guidance', None)
    return (*coarser, generation.sampling_of(self.prior, card, options))

  def _generate_batch(self, keys, labels, plan, trace):
    """Draws an image for each key, as it takes shape if `trace`."""
    levels = self._draw_levels(keys, labels, plan, trace)
    if not trace:
      return self._decode_tokens(levels)
    *coarser, steps = levels
    decided = np.ones(steps.shape[1:], bool)
    if generation.is_causal(self.prior):
      steps, decided = generation.rows_so_far(steps, self.prior.grid)
    frames = [
      self._decode_tokens((*coarser, steps[:, t]), row)
      for t, row in enumerate(decided)
    ]
    return jnp.stack(frames, axis=1)

  def _draw_levels(self, keys, labels, plan, trace=False):
    """Returns the tokens of all levels up to this one, coarsest first."""
    coarser = ()
    if self.coarser is not None:
      coarser = self.coarser._draw_levels(keys, labels, plan[:-1])
    empty = jnp.zeros((len(keys), self.prior.num_tokens), jnp.int32)
    tokens = generation.sample_tokens(
      self.prior,
      self.variables['prior'],
      samplers.fold_in(keys, len(coarser)),
      empty,
      empty.astype(bool),
      labels if self.vocab.num_classes else None,
      coarser[-1] if coarser else None,
      sampling=plan[-1],
      critic=self.critic,
      critic_variables=self.variables.get('critic'),
      trace=trace and not generation.is_causal(self.prior),
    )
    return (*coarser, tokens)

  def _decode_tokens(self, levels, decided=None):
    """Decodes the tokens of all levels; grey where they are not decided."""
    height, width, _ = self.config['data']['image_shape']
    indices = tuple(
      tokens.reshape(len(tokens), *grid.shape(height, width))
      for tokens, grid in zip(levels, self.autoencoder.code_grids, strict=True)
    )
    image = _decode(
      self.autoencoder,
      self.variables['autoencoder'],
      indices if len(indices) > 1 else indices[0],
    )
    if decided is None or decided.all():
      return image
    seen = jax.image.resize(
      jnp.asarray(decided, jnp.float32).reshape(self.prior.grid),
      image.shape[1:3],
      'nearest',
    )
    return jnp.where(jnp.expand_dims(seen, (0, 3)) > 0, image, 0.5)

  def _require_codes(self) -> None:
    if not self.autoencoder.code_grids:
      raise ValueError(
        'this autoencoder has no codes; use vq_jax.latent_space for its '
        'latents.'
      )


@functools.partial(jax.jit, static_argnames='autoencoder')
def _encode(autoencoder, variables, images):
  return autoencoder.apply(variables, images, method='encode').indices


@functools.partial(jax.jit, static_argnames='autoencoder')
def _decode(autoencoder, variables, indices):
  image = autoencoder.apply(variables, indices, method='decode_indices')
  return jnp.clip(image, 0, 1)
