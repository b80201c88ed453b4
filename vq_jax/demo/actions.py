"""What the buttons of the page compute, without Gradio."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated
from typing import Any
from typing import Literal

import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax import samplers
from vq_jax.demo import inputs
from vq_jax.inference.types import Indices
from vq_jax.metrics import image as image_metrics
from vq_jax.model import Model
from vq_jax.quantizers import base as quantizers_base
from vq_jax.samplers import options as sampler_options
from vq_jax.utils import fields
from vq_jax.utils import images as images_lib

MAX_IMAGES = 16
MAX_STEPS = 64
Order = Literal['confidence', 'critic', 'halton', 'random']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """The settings of a sample or an edit.

  Attributes:
    label: the number of the class; None are all classes in turn for new images,
      and no class for edits.
    num: the number of images.
    seed: the seed of the random numbers.
    steps: the number of decoding steps of a MaskGIT.
    guidance: the strength of classifier-free guidance.
    temperature: the temperature of the tokens.
    order: the order in which a MaskGIT decides the tokens.
    choice_temperature: the noise in the orders confidence and critic.
    trace: whether the images after all steps are returned.

  Example:
    >>> from vq_jax.demo import actions
    >>> actions.Settings(label=5, num=4, steps=8).seed
    0
  """

  label: fields.NonNegativeInt | None = None
  num: Annotated[int, fields.Range(least=1, most=MAX_IMAGES)] = 4
  seed: fields.Seed = 0
  steps: Annotated[int, fields.Range(least=1, most=MAX_STEPS)] = 8
  guidance: Annotated[float, fields.Range(least=0, most=20)] = 0.0
  temperature: Annotated[float, fields.Range(least=0, most=4)] = 1.0
  order: Order = 'confidence'
  choice_temperature: Annotated[float, fields.Range(least=0, most=100)] = 4.5
  trace: bool = False

  def __post_init__(self):
    fields.check(self)

  def sampler_options(self) -> dict[str, Any]:
    """Returns the settings that are options of a sampler."""
    return {
      name: getattr(self, name)
      for name in sampler_options.option_names(samplers.MaskGITSampler)
      if hasattr(self, name)
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenMap:
  """The tokens of an image, of one token grid.

  Attributes:
    name: the name of the grid; empty if there is only one.
    indices: int32 [h, w].
    codebook_size: K.
    used: the number of codes that occur.
    perplexity: exp of the entropy of the codes in this image.
  """

  name: str
  indices: np.ndarray
  codebook_size: int
  used: int
  perplexity: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction:
  """An image after encoding and decoding.

  Attributes:
    image: uint8 [H, W, C], the image.
    decoded: uint8 [H, W, C], its reconstruction.
    psnr: the PSNR, in dB.
    maps: the tokens; empty for an AE or a VAE.
  """

  image: np.ndarray
  decoded: np.ndarray
  psnr: float
  maps: tuple[TokenMap, ...]


def sample(model: Model, settings: Settings) -> np.ndarray:
  """Samples new images.

  Args:
    model: a model with a prior, or a VAE.
    settings: the settings; the sampler ignores those that it does not have.

  Returns:
    uint8 [T, B, H, W, C], the images after all steps; T is 1 without `trace`.

  Raises:
    ValueError: if the settings do not fit the model.
  """
  if model.prior is None:
    return images_lib.to_uint8(model.generate(settings.seed, num=settings.num))[
      None
    ]
  label = settings.label if model.vocab and model.vocab.num_classes else None
  (sampled,) = model.generate_batches(
    settings.seed,
    labels=label,
    num=settings.num,
    sampler=make_samplers(model, settings),
    batch_size=settings.num,
    trace=settings.trace,
  )
  return _by_step(sampled, settings)


def inpaint(
  model: Model, painting: inputs.Painting, settings: Settings
) -> np.ndarray:
  """Samples the painted part of an image anew, in several versions.

  Args:
    model: a model with a prior.
    painting: the image and the mask.
    settings: the settings.

  Returns:
    uint8 [T, B, H, W, C]; see `sample`.

  Raises:
    ValueError: if nothing is painted, or the settings do not fit the model.
  """
  if not painting.mask.any():
    raise ValueError('paint over the part of the image to sample anew first.')
  edited = model.edit(
    settings.seed,
    np.repeat(painting.image[None], settings.num, axis=0),
    painting.mask,
    **_edit_options(model, settings),
  )
  return _by_step(edited, settings)


def outpaint(
  model: Model,
  painting: inputs.Painting,
  sides: Mapping[str, int],
  settings: Settings,
) -> np.ndarray:
  """Extends an image beyond its borders, in several versions.

  Args:
    model: a model with a prior.
    painting: the image; its mask has no effect.
    sides: the number of pixels to add at `left`, `right`, `top` and `bottom`,
      at most the size of the image.
    settings: the settings.

  Returns:
    uint8 [T, B, H', W', C]; see `sample`.

  Raises:
    ValueError: if the numbers or the settings do not fit the model.
  """
  most = max(painting.mask.shape)
  limit = Annotated[int, fields.Range(least=0, most=most)]
  for side, number in sides.items():
    fields.check_value(side, number, limit)
  edges: dict[str, Any] = dict(sides)
  edited = model.outpaint(
    settings.seed,
    np.repeat(painting.image[None], settings.num, axis=0),
    **edges,
    **_edit_options(model, settings),
  )
  return _by_step(edited, settings)


def reconstruct(model: Model, image: np.ndarray) -> Reconstruction:
  """Encodes and decodes an image.

  Args:
    model: any model.
    image: uint8 [H, W, C] of the size of the model.
  """
  encoded = model.encode(image[None])
  decoded = model.decode(encoded)
  psnr = image_metrics.psnr(images_lib.to_float(image[None]), decoded)
  return Reconstruction(
    image=image,
    decoded=images_lib.to_uint8(decoded[0]),
    psnr=float(np.asarray(psnr).mean()),
    maps=_token_maps(model, encoded),
  )


def for_one_image(settings: Settings) -> Settings:
  """Returns settings for one image without the steps of its decoding."""
  return dataclasses.replace(settings, num=1, trace=False)


def make_samplers(model: Model, settings: Settings) -> list[samplers.Sampler]:
  """Returns the samplers of all levels with the settings that apply to them.

  Guidance is left out for a prior without a class "no class".
  """
  found = []
  for level in model.levels:
    valid = set(sampler_options.option_names(type(level.sampler)))
    if not has_guidance(model):
      valid.discard('guidance')
    options = settings.sampler_options()
    options = {name: x for name, x in options.items() if name in valid}
    found.append(samplers.with_options(level.sampler, options))
  return found


def can_sample(model: Model) -> bool:
  """Returns whether a model generates images: with a prior, or as a VAE."""
  is_vae = isinstance(model.autoencoder, autoencoders.VAE)
  return model.prior is not None or is_vae


def has_guidance(model: Model) -> bool:
  """Returns whether all priors of a model know classes and "no class"."""
  vocabs = [level.prior.vocab for level in model.levels]
  return all(vocab.num_classes and vocab.null_class for vocab in vocabs)


def _edit_options(model: Model, settings: Settings) -> dict[str, Any]:
  """Returns the arguments that inpainting and outpainting share."""
  label = settings.label if model.vocab and model.vocab.num_classes else None
  return {
    'label': label,
    'sampler': make_samplers(model, settings),
    'batch_size': settings.num,
    'trace': settings.trace,
  }


def _by_step(images: Any, settings: Settings) -> np.ndarray:
  """Returns images [B, T, ...] or [B, ...] as uint8 [T, B, ...]."""
  images = images_lib.to_uint8(images)
  return np.swapaxes(images, 0, 1) if settings.trace else images[None]


def _token_maps(model: Model, encoded: Indices) -> tuple[TokenMap, ...]:
  """Returns the tokens of one image, a map for each codebook."""
  grids = model.autoencoder.token_grids
  if not grids:
    return ()
  parts = encoded if isinstance(encoded, tuple) else (encoded,)
  maps = []
  for number, (grid, part) in enumerate(zip(grids, parts, strict=True)):
    indices = np.asarray(part)[0]
    h, w = indices.shape[:2]
    groups = np.moveaxis(indices.reshape(h, w, -1), -1, 0)
    for group, each in enumerate(groups):
      names = [f'level {number}'] if len(parts) > 1 else []
      names += [f'index {group}'] if len(groups) > 1 else []
      _, counts = np.unique(each, return_counts=True)
      maps.append(
        TokenMap(
          name=', '.join(names),
          indices=each,
          codebook_size=grid.codebook_size,
          used=len(counts),
          perplexity=float(quantizers_base.perplexity(jnp.asarray(counts))),
        )
      )
  return tuple(maps)
