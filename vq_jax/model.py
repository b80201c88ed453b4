"""Model: an autoencoder with its priors and their variables, ready to use."""

import dataclasses
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from vq_jax import inference
from vq_jax import priors
from vq_jax import samplers
from vq_jax.inference import edit as edit_lib
from vq_jax.inference import generate as generate_lib
from vq_jax.inference.types import Array
from vq_jax.inference.types import Indices
from vq_jax.inference.types import Labels

Samplers = samplers.Sampler | Sequence[samplers.Sampler] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(inference.GuidedModel):
  """A trained or converted model, as `vq_jax.load` returns it.

  `ImageCodec` encodes and decodes; `GuidedModel` optimises images for a text.

  Attributes:
    run_config: what the `config.json` of the run holds.
    autoencoder_run_config: the same of the run of the autoencoder.
    prior: Flax module, tokens -> logits; None for an autoencoder alone.
    parent: the model of the parent level in a hierarchy of token grids.
    critic: Flax module, a token critic for the order 'critic' of a MaskGIT.
  """

  run_config: Mapping[str, Any]
  autoencoder_run_config: Mapping[str, Any]
  prior: priors.Prior | None = None
  parent: 'Model | None' = None
  critic: priors.TokenCritic | None = None

  @property
  def config(self) -> Mapping[str, Any]:
    """The config that the run was trained with: `task`, `model`, `data`, ..."""
    return self.run_config['config']

  @property
  def vocab(self) -> priors.Vocab | None:
    """The vocabulary of the prior; None for an autoencoder alone."""
    return None if self.prior is None else self.prior.vocab

  @property
  def level(self) -> int:
    """The number of the prior's token grid; 0 has no parent level."""
    return 0 if self.parent is None else self.parent.level + 1

  def generate(
    self,
    key: jax.Array | int,
    *,
    labels: Labels = None,
    num: int | None = None,
    sampler: Samplers = None,
    batch_size: int = 100,
    sharding: jax.sharding.Sharding | None = None,
  ) -> jax.Array:
    """Samples new images.

    The prior of a hierarchy samples the parent levels first. A VAE decodes
    samples of N(0, I). An image depends on the key and on its index in the
    request, and not on the batch size.

    Args:
      key: JAX key, or a seed in [0, 2^32).
      labels: one class per image, or one class for all `num` images, by number
        from 0 or by name; by default all classes in turn.
      num: the number of images; by default the number of labels, or 16.
      sampler: by default `info.sampler`; change its options with
        `dataclasses.replace(model.info.sampler, temperature=0.5)`. A hierarchy
        takes one sampler for all levels, or a sequence of one for each.
      batch_size: the number of images in a batch.
      sharding: the sharding of a batch over devices; None uses one device.

    Returns:
      float32 [num, H, W, C] in [0, 1].

    Raises:
      ValueError: if a prior is missing, or labels or sampler do not fit it.
    """
    if self.prior is None:
      unused: dict[str, Any] = {'labels': labels, 'sampler': sampler}
      variables = self.variables['autoencoder']
      return generate_lib.sample_vae(
        self.autoencoder, variables, self.info, key, num, **unused
      )
    batches = self.generate_batches(
      key,
      labels=labels,
      num=num,
      sampler=sampler,
      batch_size=batch_size,
      sharding=sharding,
    )
    return jnp.concatenate(list(batches))

  def generate_batches(
    self,
    key: jax.Array | int,
    *,
    labels: Labels = None,
    num: int | None = None,
    sampler: Samplers = None,
    batch_size: int = 100,
    sharding: jax.sharding.Sharding | None = None,
    rows: range | None = None,
    trace: bool = False,
  ) -> Iterator[jax.Array]:
    """Samples new images batch by batch.

    Args:
      key: see `generate`.
      labels: see `generate`.
      num: see `generate`.
      sampler: see `generate`.
      batch_size: images in a batch, rounded up to what `sharding` divides.
      sharding: the sharding of a batch.
      rows: the numbers of the images to sample, if not all of `num`.
      trace: whether to yield images after all steps of a MaskGIT, or rows of an
        autoregressive prior, grey where no token is sampled yet.

    Returns:
      iterator of float32 [B, H, W, C], or [B, T, H, W, C] with `trace`.
    """
    options: dict[str, Any] = {'labels': labels, 'num': num, 'rows': rows}
    options |= {'sharding': sharding, 'trace': trace}
    return generate_lib.generate_batches(
      self.pipeline(sampler), key, batch_size=batch_size, **options
    )

  def edit(
    self,
    key: jax.Array | int,
    image: Array,
    mask: Array,
    *,
    label: Labels = None,
    sampler: Samplers = None,
    dilate: int = 1,
    keep_pixels: bool = True,
    batch_size: int = 100,
    trace: bool = False,
  ) -> jax.Array:
    """Samples the masked part of images anew.

    The values of masked pixels have no influence on the result. An image
    depends on the key and on its index, and not on the others of the batch. An
    image without masked pixels is returned as it is; a fully masked one of the
    training size is what `generate` samples for the key. A smaller image is
    completed to the training size and cropped; a larger one is sampled in
    windows of the prior's grid that overlap by half, which hierarchies of token
    grids and vision transformers do not support.

    Args:
      key: JAX key, or a seed in [0, 2^32).
      image: [H, W, C] or [B, H, W, C], uint8 in [0, 255] or float in [0, 1].
      mask: bool [H, W] or [B, H, W], True where the image is sampled anew.
      label: one class for all images, or one per image; None is the null class.
      sampler: as for `generate`.
      dilate: the number of tokens around the masked ones that are sampled too,
        since an encoder sees masked pixels beyond those of a token.
      keep_pixels: whether the pixels that are not masked stay unchanged, with a
        blended seam within the mask; otherwise all pixels are decoded.
      batch_size: the number of images in a batch.
      trace: whether to return the images after all steps, in one batch.

    Returns:
      float32 of the image's shape; [T, H, W, C] or [B, T, H, W, C] with trace.

    Raises:
      ValueError: if a prior is missing, or an argument does not fit.
      TypeError: if the image is neither uint8 nor float.
    """
    options = edit_lib.EditOptions(
      label=label,
      dilate=dilate,
      keep_pixels=keep_pixels,
      batch_size=batch_size,
      trace=trace,
    )
    return edit_lib.edit(self.pipeline(sampler), key, image, mask, options)

  def outpaint(
    self,
    key: jax.Array | int,
    image: Array,
    *,
    left: int = 0,
    right: int = 0,
    top: int = 0,
    bottom: int = 0,
    label: Labels = None,
    sampler: Samplers = None,
    dilate: int = 0,
    batch_size: int = 100,
    trace: bool = False,
  ) -> jax.Array:
    """Extends images beyond their borders; the given pixels are kept.

    Args:
      key: as for `edit`.
      image: [H, W, C] or [B, H, W, C], uint8 in [0, 255] or float in [0, 1].
      left: the number of pixels to add at this side.
      right: the number of pixels to add at this side.
      top: the number of pixels to add at this side.
      bottom: the number of pixels to add at this side.
      label: as for `edit`.
      sampler: as for `edit`.
      dilate: as for `edit`.
      batch_size: as for `edit`.
      trace: as for `edit`.

    Returns:
      float32 [H + top + bottom, W + left + right, C], or a batch of them.

    Raises:
      ValueError: as for `edit`; or if no pixels are to be added.
    """
    options = edit_lib.EditOptions(
      label=label, dilate=dilate, batch_size=batch_size, trace=trace
    )
    sides = (top, bottom, left, right)
    return edit_lib.outpaint(self.pipeline(sampler), key, image, sides, options)

  def complete(
    self,
    key: jax.Array | int,
    indices: Indices,
    known: Indices,
    *,
    label: Labels = None,
    sampler: Samplers = None,
  ) -> Indices:
    """Samples the unknown indices of images; the known ones are kept.

    An autoregressive prior samples each token given those before it, in raster
    order, so known tokens at later positions have no influence on it.

    Args:
      key: as for `edit`.
      indices: as `encode` returns them; values are ignored where not known.
      known: bool of the same shape; a tuple if indices are.
      label: as for `edit`.
      sampler: as for `edit`.

    Returns:
      int32 of the shape of indices.
    """
    return edit_lib.complete(self.pipeline(sampler), key, indices, known, label)

  @property
  def levels(self) -> tuple[inference.Level, ...]:
    """The priors of all levels with their samplers, parents first.

    Raises:
      ValueError: if the run has no prior.
    """
    if self.prior is None:
      raise ValueError(
        'this run is an autoencoder without a prior, so it cannot sample '
        'tokens. Load the run of a prior that was trained on its tokens.'
      )
    assert self.info.sampler is not None  # a run with a prior has one
    level = inference.Level(
      prior=self.prior,
      variables=self.variables['prior'],
      sampler=self.info.sampler,
      critic=self.critic,
      critic_variables=self.variables.get('critic'),
    )
    return (*(self.parent.levels if self.parent is not None else ()), level)

  def pipeline(self, sampler: Samplers = None) -> inference.Pipeline:
    """Returns all that sampling needs, with other samplers if they are given.

    Args:
      sampler: as for `generate`.

    Raises:
      ValueError: if a prior is missing, or the samplers are not one per level.
    """
    pipeline = inference.Pipeline(
      autoencoder=self.autoencoder,
      variables=self.variables['autoencoder'],
      levels=self.levels,
      info=self.info,
    )
    return pipeline if sampler is None else pipeline.with_sampler(sampler)
