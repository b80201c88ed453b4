"""New images: tokens of all levels are sampled, and decoded to images."""

import functools
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax import priors
from vq_jax import samplers
from vq_jax.inference import codec
from vq_jax.inference import labels as labels_lib
from vq_jax.inference import latents
from vq_jax.inference import validate
from vq_jax.inference.info import Level
from vq_jax.inference.info import ModelInfo
from vq_jax.inference.info import Pipeline
from vq_jax.inference.types import Array
from vq_jax.inference.types import Labels
from vq_jax.utils import compilation
from vq_jax.utils import devices

UNDECIDED = 0.5  # the grey of image parts that are not sampled yet


@functools.partial(
  compilation.jit,
  static_argnames=('sampler', 'prior', 'critic', 'trace', 'share_rows'),
)
def sample_tokens(
  sampler: samplers.Sampler,
  keys: jax.Array,
  prior: priors.Prior,
  variables: Mapping[str, Any],
  tokens: jax.Array,
  known: jax.Array,
  label: jax.Array | None,
  condition: jax.Array | None,
  critic: priors.TokenCritic | None = None,
  critic_variables: Mapping[str, Any] | None = None,
  trace: bool = False,
  share_rows: bool = False,
) -> jax.Array:
  """Calls a sampler, compiled; see `samplers.MaskGITSampler`."""
  options: dict[str, Any] = {}
  if isinstance(sampler, samplers.MaskGITSampler):
    options = {'share_rows': share_rows}
  if critic is not None:
    options |= {'critic': critic, 'critic_variables': critic_variables}
  return sampler(
    keys,
    prior,
    variables,
    tokens,
    known,
    label=label,
    condition=condition,
    trace=trace,
    **options,
  )


def sample_levels(
  levels: Sequence[Level],
  keys: jax.Array,
  label: Array | None,
  given: Sequence[tuple[Array, Array]] | None = None,
  trace: bool = False,
) -> tuple[jax.Array, ...]:
  """Samples the tokens of all levels, each conditioned on its parent level.

  Args:
    levels: the priors, the parent level first.
    keys: [B], one key per example.
    label: int32 [B], or None for priors without classes.
    given: for each level tokens int32 [B, N] and bool [B, N], True where a
      token is known; None if no token is known.
    trace: whether to return all steps of the last level.

  Returns:
    int32 [B, N] for each level; the last is [B, T, N] with `trace`.

  Raises:
    ValueError: if logits are NaN or infinite.
  """
  sampled: tuple[jax.Array, ...] = ()
  for number, level in enumerate(levels):
    empty = jnp.zeros((len(keys), level.prior.num_tokens), jnp.int32)
    tokens, known = given[number] if given else (empty, empty.astype(bool))
    found = sample_tokens(
      level.sampler,
      samplers.fold_in(keys, number),
      level.prior,
      level.variables,
      tokens,
      known,
      label if level.prior.vocab.num_classes else None,
      sampled[-1] if sampled else None,
      critic=level.critic,
      critic_variables=level.critic_variables,
      trace=trace and number + 1 == len(levels),
      share_rows=not devices.is_split(keys),
    )
    samplers.require_valid(found)
    sampled = (*sampled, found)
  return sampled


def sample_images(
  pipeline: Pipeline, keys: jax.Array, label: Array | None, trace: bool = False
) -> jax.Array:
  """Samples one image for each key.

  Args:
    pipeline: the model.
    keys: [B], one key per example.
    label: int32 [B], or None for priors without classes.
    trace: whether to return the images after all steps of the last level.

  Returns:
    float32 [B, H, W, C] in [0, 1], or [B, T, H, W, C] with `trace`.
  """
  sampled = sample_levels(pipeline.levels, keys, label, trace=trace)
  if not trace:
    return _decode(pipeline, sampled)
  *parents, steps = sampled
  prior = pipeline.levels[-1].prior
  decided = np.ones(steps.shape[1:], bool)
  if prior.causal:
    decided = samplers.autoregressive.decided_rows(prior.grid)
  frames = [
    _decode(pipeline, (*parents, steps[:, t]), row)
    for t, row in enumerate(decided)
  ]
  return jnp.stack(frames, axis=1)


def generate_batches(
  pipeline: Pipeline,
  key: jax.Array | int,
  *,
  labels: Labels = None,
  num: int | None = None,
  batch_size: int = 100,
  sharding: jax.sharding.Sharding | None = None,
  rows: range | None = None,
  trace: bool = False,
) -> Iterator[jax.Array]:
  """Samples new images batch by batch; see `vq_jax.Model.generate_batches`."""
  labels, num = labels_lib.for_generation(labels, num, pipeline)
  batch_size = validate.check_num(batch_size, 'batch_size')
  key = samplers.make_key(key)
  rows = range(num) if rows is None else rows
  size = devices.round_up(min(batch_size, max(len(rows), 1)), sharding)
  for start in range(rows.start, rows.stop, size):
    index = np.arange(start, start + size)  # all of one size: one compilation
    keys = samplers.example_keys(key, index)
    label = None if labels is None else labels[index % num]
    if sharding is not None:
      keys, label = jax.device_put((keys, label), sharding)
    with devices.on_mesh(sharding):
      images = sample_images(pipeline, keys, label, trace)
    yield images[: rows.stop - start]


def sample_vae(
  autoencoder: nn.Module,
  variables: Mapping[str, Any],
  info: ModelInfo,
  key: jax.Array | int,
  num: int | None = None,
  *,
  labels: None = None,
  sampler: None = None,
) -> jax.Array:
  """Decodes latents sampled from the prior N(0, I) of a VAE.

  Args:
    autoencoder: a VAE.
    variables: its variables.
    info: facts about the model.
    key: JAX key, or a seed.
    num: the number of images; 16 by default.
    labels: must be None, since a VAE has no classes.
    sampler: must be None, since a VAE has no tokens.

  Returns:
    float32 [num, H, W, C] in [0, 1].

  Raises:
    ValueError: if the autoencoder is not a VAE, or labels or a sampler are
      given.
  """
  _require_vae(autoencoder)
  if labels is not None:
    raise ValueError('a VAE has no classes; leave labels out.')
  if sampler is not None:
    raise ValueError('a VAE has no sampler; leave sampler out.')
  num = validate.check_num(16 if num is None else num)
  shape = latents.latent_shape(autoencoder, info.image_shape)
  z = jax.random.normal(samplers.make_key(key), (num, *shape))
  return jnp.asarray(
    latents.decode(autoencoder, variables, z, info.image_shape)
  )


def _require_vae(autoencoder: nn.Module) -> None:
  """Raises ValueError unless an autoencoder is a VAE."""
  if not isinstance(autoencoder, autoencoders.VAE):
    raise ValueError(
      'this run is an autoencoder without a prior, so it cannot generate '
      'images. Load the run of a prior that was trained on its tokens; for an '
      'AE, fit a mixture to its latents (vqjax mixture).'
    )


def _decode(
  pipeline: Pipeline,
  levels: Sequence[jax.Array],
  decided: np.ndarray | None = None,
) -> jax.Array:
  """Decodes the tokens of all levels, grey where they are not decided."""
  height, width, _ = pipeline.info.image_shape
  grids = pipeline.autoencoder.token_grids
  indices = [
    tokens.reshape(len(tokens), *grid.shape(height, width))
    for tokens, grid in zip(levels, grids, strict=True)
  ]
  image = codec.decode_tokens(
    pipeline.autoencoder, pipeline.variables, codec.join(indices)
  )
  if decided is None or decided.all():
    return image
  seen = jax.image.resize(
    jnp.asarray(decided, jnp.float32).reshape(pipeline.levels[-1].prior.grid),
    image.shape[1:3],
    'nearest',
  )
  return jnp.where(jnp.expand_dims(seen, (0, 3)) > 0, image, UNDECIDED)
