"""Model: an autoencoder, perhaps priors, and their variables, ready to use."""

import dataclasses
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import checks
from vq_jax import class_labels
from vq_jax import drawing
from vq_jax import editing
from vq_jax import latent_space
from vq_jax import samplers
from vq_jax.priors import vocab as vocab_lib

Array = jax.Array | np.ndarray
Indices = Array | tuple[Array, ...]
Labels = Array | Sequence[int | str] | int | str | None


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
      ValueError: if shape or range do not suit it, or it has no codes.
      TypeError: if the images are neither uint8 nor float.
    """
    checks.require_codes(self.autoencoder)
    checks.check_images(images, self.config['data']['image_shape'][-1])
    return drawing.encode(
      self.autoencoder, self.variables['autoencoder'], jnp.asarray(images)
    )

  def decode(self, indices: Indices) -> jax.Array:
    """Decodes indices, as `encode` gives them, to float32 images in [0, 1].

    Raises:
      ValueError: if an index is no code or the shapes are not those of grids.
    """
    checks.require_codes(self.autoencoder)
    parts = checks.checked_parts(indices, self.autoencoder.token_grids)
    grids = parts if len(parts) > 1 else parts[0]
    return drawing.decode(
      self.autoencoder, self.variables['autoencoder'], grids
    )

  def reconstruct(self, images: Array) -> jax.Array:
    """Encodes and decodes images; see `encode` for what they must be."""
    if self.autoencoder.token_grids:
      return self.decode(self.encode(images))
    checks.check_images(images, self.config['data']['image_shape'][-1])
    return latent_space.decode(self, latent_space.encode(self, images))

  def generate(
    self,
    rng: jax.Array | int,
    *,
    labels: Labels = None,
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
      rng: JAX key, or a seed in [0, 2^32).
      labels: one class per image, or one for all `num`, by number from 0 or by
        name. By default the classes follow one another.
      num: how many images, if `labels` does not say; 16 by default.
      batch_size: images made at a time.
      sharding: how such a batch is spread over devices; None for one device.
      **sampling: options of the sampler, such as `guidance` or `temperature`:
        the fields of `samplers.MaskGITSampler` for a MaskGIT, those of
        `samplers.AutoregressiveSampler` for other priors. What is left out
        is as the config of the run says; a prior without classes is never
        guided by default.

    Returns:
      float32 [B, H, W, C] in [0, 1].

    Raises:
      ValueError: if there is no prior for all levels, labels are out of range,
        or an option does not suit the prior.
    """
    if self.prior is None:
      return drawing.draw_without_prior(
        self, samplers.make_key(rng), labels, num, sampling
      )
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
    labels: Labels = None,
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
    labels, num = class_labels.from_request(labels, num, self)
    batch_size = checks.checked_num(batch_size, 'batch_size')
    plan = drawing.plan_of(self, sampling)
    rng = samplers.make_key(rng)
    size = min(batch_size, num)
    for start in range(0, num, size):
      places = np.arange(start, start + size)  # always `size`: one compilation
      keys = samplers.example_keys(rng, places)
      part = None if labels is None else labels[places % num]
      if sharding is not None:
        keys, part = jax.device_put((keys, part), sharding)
      made = drawing.draw_images(self, keys, part, plan, trace)
      yield made[: num - start]

  def edit(
    self,
    rng: jax.Array | int,
    image: Array,
    mask: Array,
    *,
    label: Labels = None,
    dilate: int = 1,
    keep_pixels: bool = True,
    batch_size: int = 100,
    trace: bool = False,
    **sampling: Any,
  ) -> jax.Array:
    """Redraws the masked part of pictures.

    What the masked pixels hold has no part in the result. How a picture comes
    out depends on the rng and on its place, not on the others of the batch.
    One that has nothing masked comes back as it is; one that is masked
    everywhere is what `generate` draws for the rng, if it has the training
    size. A smaller picture is completed to that size and cropped; a larger one
    is redrawn in windows of the prior's grid that overlap by half, which
    hierarchies of codes and ViT towers cannot.

    It costs one `encode`, one `decode`, and a call of the sampler per window.

    Args:
      rng: key, or a seed.
      image: [H, W, C] or [B, H, W, C], uint8 in [0, 255] or float in [0, 1].
      mask: bool [H, W] or [B, H, W], True where the picture is redrawn.
      label: the class by number or name, one for all or [B]. Without, a prior
        with classes draws as if it knew none, if it has a null class.
      dilate: tokens around the masked ones that are redrawn too, since an
        encoder sees a hole beyond a token's own pixels.
      keep_pixels: whether the pixels that are not masked are, to the bit, those
        of the image, and the seam is blended within the mask; otherwise all are
        as they are decoded.
      batch_size: pictures made at a time.
      trace: return each picture as it takes shape, in all steps of a MaskGIT
        or all rows of other priors, window by window; makes all at a time.
      **sampling: see `generate`.

    Returns:
      float32 of the image's shape; [T, H, W, C] or [B, T, H, W, C] with trace.

    Raises:
      ValueError: if the model cannot draw codes, if image, mask, label or
        options do not fit it or each other, or it cannot redraw that size.
      TypeError: if the image is neither uint8 nor float.
    """
    how = editing.How(
      label=label,
      sampling=sampling,
      dilate=dilate,
      keep_pixels=keep_pixels,
      batch_size=batch_size,
      trace=trace,
    )
    return editing.edit(self, rng, image, mask, how)

  def outpaint(
    self,
    rng: jax.Array | int,
    image: Array,
    *,
    left: int = 0,
    right: int = 0,
    top: int = 0,
    bottom: int = 0,
    **options: Any,
  ) -> jax.Array:
    """Continues pictures beyond their sides; the given pixels stay as they are.

    Args:
      rng: see `edit`, as for sizes and errors.
      image: [H, W, C] or [B, H, W, C], uint8 in [0, 255] or float in [0, 1].
      left: pixels to be drawn on that side.
      right: likewise.
      top: likewise.
      bottom: likewise; one of the four must be positive.
      **options: all of `edit` but keep_pixels; dilate is 0 by default.

    Returns:
      float32 [H + top + bottom, W + left + right, C], or a batch of them.
    """
    how = editing.how(options)
    return editing.outpaint(self, rng, image, (top, bottom, left, right), how)

  def complete(
    self,
    rng: jax.Array | int,
    indices: Indices,
    known: Indices,
    *,
    label: Labels = None,
    **sampling: Any,
  ) -> Indices:
    """Draws what is missing of a picture's indices; the known ones stay.

    An autoregressive prior draws each token from those before it, row by row,
    so what is known further on does not shape it.

    Args:
      rng: see `edit`, as for sizes and errors.
      indices: as `encode` gives them; any number where they are not known.
      known: bool of the same shape; a tuple if indices are.
      label: see `edit`.
      **sampling: see `generate`.

    Returns:
      int32 of the shape of indices.
    """
    how = editing.How(label=label, sampling=sampling)
    return editing.complete(self, rng, indices, known, how)
