"""Guided optimisation of a model's latents; see `vq_jax.guidance`."""

import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import errors

from vq_jax import guidance
from vq_jax import losses as image_losses
from vq_jax import samplers
from vq_jax.data import pixels
from vq_jax.inference import codec
from vq_jax.inference import validate
from vq_jax.inference.info import ModelInfo
from vq_jax.utils import compilation
from vq_jax.utils import devices
from vq_jax.utils import images as images_lib

Array = jax.Array | np.ndarray
Init = Literal['noise', 'tokens'] | Array
Story = Sequence[Sequence[guidance.Prompt]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Dream:
  """An optimisation that is ready to run; its state is passed along.

    state = dream.start
    for step in range(dream.options.steps):
      state, losses = dream.advance(state, step)
    images = dream.decode(state)

  Attributes:
    start: the first state.
    options: the options.
    motion: the motion of the camera.
    networks: the variables of all networks.
    phrases: the targets of each guide, for each phrase of the story.
    phrase_steps: the number of steps of a phrase.
    step: the compiled step.
    decode_latents: the compiled decoder, (variables, latents) -> images.
    encode_images: the compiled encoder, (variables, images) -> latents.
  """

  start: guidance.GuidanceState
  options: guidance.GuidanceOptions
  motion: guidance.Motion
  networks: guidance.Networks
  phrases: tuple[tuple[guidance.Targets, ...], ...]
  phrase_steps: int
  step: guidance.StepFn
  decode_latents: Callable[[Mapping[str, Any], Any], jax.Array]
  encode_images: Callable[[Mapping[str, Any], jax.Array], Any]

  def phrase_at(self, step: int) -> int:
    """Returns the number of the phrase at a step; a story starts over."""
    return step // self.phrase_steps % len(self.phrases)

  def advance(
    self, state: guidance.GuidanceState, step: int
  ) -> tuple[guidance.GuidanceState, dict[str, jax.Array]]:
    """Takes one step, after a move of the camera where one is due.

    Args:
      state: the state.
      step: its number of steps, known without waiting for the device.

    Returns:
      the next state; and the losses, see `guidance.make_step`.
    """
    if self.motion and step and step % self.motion.every == 0:
      state = self._move(state)
    targets = self.phrases[self.phrase_at(step)]
    return self.step(state, self.networks, targets)

  def decode(self, state: guidance.GuidanceState) -> jax.Array:
    """Returns the images of a state, float32 [B, H, W, C] in [0, 1]."""
    return self.decode_latents(self.networks.autoencoder, state.result)

  def _move(self, state: guidance.GuidanceState) -> guidance.GuidanceState:
    """Moves the images, encodes them, and starts a new optimizer."""
    moved = self.motion(self.decode(state))
    first = self.motion(state.first_image)
    latents = self.encode_images(self.networks.autoencoder, moved)
    fresh = guidance.init_state(
      latents, jax.random.wrap_key_data(state.keys), first, self.options
    )
    return dataclasses.replace(fresh, step=state.step)


def prepare(
  autoencoder: nn.Module,
  variables: Mapping[str, Any],
  info: ModelInfo,
  key: jax.Array | int,
  story: Story,
  guides: Sequence[guidance.Guide],
  *,
  options: guidance.GuidanceOptions,
  motion: guidance.Motion,
  num: int = 1,
  size: tuple[int, int] | None = None,
  init: Init = 'noise',
  phrase_steps: int | None = None,
) -> Dream:
  """Prepares the optimisation of images; `Model.dream` has the arguments."""
  if not guides:
    raise ValueError('at least one guide is needed, such as a CLIP.')
  num, form = validate.check_num(num), options.form
  guidance.latents.check_form(autoencoder, form)
  size = _check_size(autoencoder, size or info.image_shape[:2])
  shape = (*size, info.image_shape[-1])
  keys = samplers.example_keys(samplers.make_key(key), np.arange(num))
  latents = _first_latents(autoencoder, variables, keys, init, shape, form)
  if isinstance(init, str):
    first = _decoder(autoencoder, form)(variables, latents)
  else:
    first = _batch(init, num, shape)
  lpips, lpips_variables = None, None
  if options.init_lpips_weight:
    lpips, lpips_variables = image_losses.load_lpips()
  networks = guidance.Networks(
    autoencoder=variables,
    guides=tuple(guide.variables for guide in guides),
    lpips=lpips_variables,
    code_range=guidance.latents.code_range(autoencoder, variables, form)
    if options.clamp
    else None,
  )
  state = guidance.init_state(latents, keys, first, options)
  sharding = devices.batch_sharding(num)
  if sharding is not None:
    state, networks = _place(state, networks, sharding)
  step = guidance.make_step(
    _with_remat(autoencoder, options.remat), guides, options, lpips
  )
  return Dream(
    start=state,
    options=options,
    motion=motion,
    networks=networks,
    phrases=_embed_story(story, guides),
    phrase_steps=phrase_steps or -(-options.steps // len(story)),
    step=compilation.jit(step),
    decode_latents=_decoder(autoencoder, form),
    encode_images=_encoder(autoencoder, form),
  )


def _embed_story(
  story: Story, guides: Sequence[guidance.Guide]
) -> tuple[tuple[guidance.Targets, ...], ...]:
  """Returns the targets of each guide, for each phrase."""
  most = max(map(len, story))
  return tuple(
    tuple(
      guidance.make_targets(guide, phrase, most, read_image) for guide in guides
    )
    for phrase in story
  )


def read_image(path: str) -> np.ndarray:
  """Reads an image file: float32 [H, W, 3] in [0, 1]."""
  return codec.decode_image(path, 3).astype(np.float32) / 255


def fit(image: Array, size: Sequence[int]) -> np.ndarray:
  """Resizes an image [H, W, C] to cover a size (H, W), and crops the centre.

  Returns:
    uint8 [*size, C].
  """
  image = images_lib.to_uint8(image)
  scale = max(
    want / have for want, have in zip(size, image.shape, strict=False)
  )
  around = [
    max(want, round(have * scale))
    for want, have in zip(size, image.shape, strict=False)
  ]
  image = pixels.resize(image, tuple(around), 'lanczos')
  top, left = ((a - want) // 2 for a, want in zip(around, size, strict=True))
  return image[top : top + size[0], left : left + size[1]]


def _check_size(autoencoder: nn.Module, size: Sequence[int]) -> tuple[int, int]:
  """Returns (height, width), multiples of the stride."""
  height, width = size
  stride = autoencoder.stride
  if height < stride or width < stride or height % stride or width % stride:
    nearest = [max(1, round(n / stride)) * stride for n in (height, width)]
    raise ValueError(
      f'height and width must be multiples of {stride}, the pixels per latent '
      f'of this model; got {height} x {width}. The nearest size is '
      f'{nearest[0]} x {nearest[1]}.'
    )
  return height, width


def _first_latents(
  autoencoder: nn.Module,
  variables: Mapping[str, Any],
  keys: jax.Array,
  init: Init,
  shape: tuple[int, int, int],
  form: guidance.latents.Form,
) -> Any:
  """Returns the first latents [B, ...], from noise, tokens or images."""
  if isinstance(init, str) and init == 'tokens':
    if not autoencoder.token_grids:
      raise ValueError(
        "init='tokens' needs a model with a quantizer; use 'noise'."
      )
    tokens = guidance.latents.random_tokens(autoencoder, keys, *shape[:2])
    return guidance.latents.from_tokens(autoencoder, variables, tokens, form)
  if isinstance(init, str):
    if init != 'noise':
      raise ValueError(
        f"init must be 'noise', 'tokens' or images; got {init!r}."
      )
    image = jax.vmap(lambda key: jax.random.uniform(key, shape))(keys)
  else:
    image = _batch(init, len(keys), shape)
  try:
    return _encoder(autoencoder, form)(variables, image)
  except (ValueError, TypeError, errors.ScopeParamShapeError) as error:
    raise ValueError(
      f'this model cannot encode images of {shape[0]} x {shape[1]} pixels; '
      f'leave the size out: {" ".join(str(error).split())[:200]}'
    ) from error


def _batch(image: Array, num: int, shape: tuple[int, int, int]) -> jax.Array:
  """Returns images float32 [num, H, W, C] of one image or a batch."""
  images_lib.check_range(image)
  image = images_lib.to_float(image)
  image = image[None] if image.ndim == 3 else image
  if image.ndim != 4 or image.shape[1:] != shape or len(image) not in (1, num):
    raise ValueError(
      f'the first images must be {shape} or {(num, *shape)}; got {image.shape}.'
    )
  return jnp.broadcast_to(image, (num, *shape))


@functools.cache
def _decoder(autoencoder: nn.Module, form: guidance.latents.Form) -> Callable:
  return compilation.jit(
    lambda variables, latents: guidance.latents.decode(
      autoencoder, variables, latents, form
    )
  )


@functools.cache
def _encoder(autoencoder: nn.Module, form: guidance.latents.Form) -> Callable:
  return compilation.jit(
    lambda variables, image: guidance.latents.from_image(
      autoencoder, variables, image, form
    )
  )


def _with_remat(autoencoder: nn.Module, remat: bool) -> nn.Module:
  """Returns the autoencoder with a decoder that remats, if it can."""
  decoder = getattr(autoencoder, 'decoder', None)
  if not remat or decoder is None or not hasattr(decoder, 'remat'):
    return autoencoder
  return autoencoder.clone(decoder=decoder.clone(remat=True))


def _place(
  state: guidance.GuidanceState,
  networks: guidance.Networks,
  sharding: jax.sharding.NamedSharding,
) -> tuple[guidance.GuidanceState, guidance.Networks]:
  """Puts the images on the devices in parts, and the networks on each."""
  whole = jax.sharding.NamedSharding(
    sharding.mesh, jax.sharding.PartitionSpec()
  )
  state = jax.tree.map(
    lambda x: jax.device_put(x, sharding if x.ndim else whole), state
  )
  return state, jax.device_put(networks, whole)
