"""The part of a model that optimises images for a text."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import jax

from vq_jax import guidance
from vq_jax.inference import dream as dream_lib
from vq_jax.inference import image_codec


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuidedModel(image_codec.ImageCodec):
  """An autoencoder whose latents are optimised until a guide finds a prompt."""

  def dream(
    self,
    key: jax.Array | int,
    prompt: str | Sequence[Sequence[guidance.Prompt]],
    guides: guidance.Guide | Sequence[guidance.Guide],
    *,
    num: int = 1,
    size: tuple[int, int] | None = None,
    init: dream_lib.Init = 'noise',
    options: guidance.GuidanceOptions | None = None,
    motion: guidance.Motion | None = None,
    phrase_steps: int | None = None,
    progress: Callable[[int, dict[str, jax.Array]], None] | None = None,
  ) -> jax.Array:
    """Optimises images until a guide finds them like a prompt (VQGAN+CLIP).

    An image depends on the key and on its index alone. `prepare_dream` gives
    control of each step.

    Args:
      key: JAX key, or a seed in [0, 2^32).
      prompt: the prompts, such as 'a forest:2 | fog:-1 ^ a lake'; see
        `vq_jax.guidance.prompts`. Phrases of a story follow each other.
      guides: one guide, or several whose losses are added; see
        `vq_jax.guidance.load_guide`.
      num: the number of images, which are optimised at once.
      size: (H, W), multiples of the model's stride; by default those of its
        training images.
      init: the first images: 'noise', random 'tokens', or images [H, W, C] or
        [num, H, W, C], such as samples of `generate`.
      options: the options; by default `GuidanceOptions()`.
      motion: the motion of the camera; by default none.
      phrase_steps: the number of steps of each phrase of a story, which then
        starts over; by default all phrases together take all steps.
      progress: called with the number of steps and the losses of the last.

    Returns:
      float32 [num, H, W, C] in [0, 1].

    Raises:
      ValueError: if an argument does not fit the model.
    """
    dream = self.prepare_dream(
      key,
      prompt,
      guides,
      num=num,
      size=size,
      init=init,
      options=options,
      motion=motion,
      phrase_steps=phrase_steps,
    )
    state = dream.start
    for step in range(dream.options.steps):
      state, losses = dream.advance(state, step)
      if progress is not None:
        progress(step + 1, losses)
    return dream.decode(state)

  def prepare_dream(
    self,
    key: jax.Array | int,
    prompt: str | Sequence[Sequence[guidance.Prompt]],
    guides: guidance.Guide | Sequence[guidance.Guide],
    *,
    num: int = 1,
    size: tuple[int, int] | None = None,
    init: dream_lib.Init = 'noise',
    options: guidance.GuidanceOptions | None = None,
    motion: guidance.Motion | None = None,
    phrase_steps: int | None = None,
  ) -> dream_lib.Dream:
    """Prepares what `dream` does; the arguments are the same."""
    return dream_lib.prepare(
      self.autoencoder,
      self.variables['autoencoder'],
      self.info,
      key,
      guidance.parse_story(prompt) if isinstance(prompt, str) else prompt,
      [guides] if isinstance(guides, guidance.Guide) else list(guides),
      options=options or guidance.GuidanceOptions(),
      motion=motion or guidance.Motion(),
      num=num,
      size=size,
      init=init,
      phrase_steps=phrase_steps,
    )
