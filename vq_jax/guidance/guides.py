"""Guides: encoders of images and texts into one space of embeddings."""

import dataclasses
import functools
import os
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import features
from vq_jax.features import inputs
from vq_jax.guidance import cutouts as cutouts_lib
from vq_jax.guidance import prompts as prompts_lib
from vq_jax.utils import compilation

# The guides, other than CLIPs, that are loaded by name.
NAMES = ('classifier-text',)

# A stop that no distance reaches, so that it never acts.
_NO_STOP = -100.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Guide:
  """A pair of encoders, such as CLIP (https://arxiv.org/abs/2103.00020).

  Attributes:
    name: the name in messages.
    module: Flax module with the method `encode_image`, which maps images float
      [B, S, S, 3] in [0, 1] to embeddings float [B, D] of length 1.
    variables: its variables.
    size: S, the side of the images.
    encode_texts: texts -> embeddings float [N, D] of length 1.
  """

  name: str
  module: nn.Module
  variables: Mapping[str, Any]
  size: int
  encode_texts: Callable[[Sequence[str]], np.ndarray | jax.Array]


@flax.struct.dataclass
class Targets:
  """The prompts of one phrase as a guide sees them.

  Attributes:
    embedding: float32 [P, D], of length 1.
    weight: float32 [P]; 0 for padding.
    stop: float32 [P].
  """

  embedding: jax.Array
  weight: jax.Array
  stop: jax.Array


def make_targets(
  guide: Guide,
  phrase: Sequence[prompts_lib.Prompt],
  num: int,
  read_image: Callable[[str], np.ndarray],
) -> Targets:
  """Embeds the prompts of a phrase.

  Args:
    guide: the guide.
    phrase: the prompts.
    num: P, at least the number of prompts; the others are padding, so that all
      phrases of a story have one shape.
    read_image: path -> float [H, W, 3] in [0, 1], for prompts that are images.
  """
  embeddings = [_embed(guide, prompt, read_image) for prompt in phrase]
  padding = num - len(phrase)
  embeddings += [np.zeros_like(embeddings[0])] * padding
  stops = [_NO_STOP if p.stop is None else p.stop for p in phrase]
  return Targets(
    embedding=jnp.asarray(np.stack(embeddings), jnp.float32),
    weight=jnp.array([p.weight for p in phrase] + [0.0] * padding, jnp.float32),
    stop=jnp.array(stops + [_NO_STOP] * padding, jnp.float32),
  )


def _embed(
  guide: Guide,
  prompt: prompts_lib.Prompt,
  read_image: Callable[[str], np.ndarray],
) -> np.ndarray:
  """Returns the embedding float32 [D] of a prompt."""
  if prompt.text is not None:
    return np.asarray(guide.encode_texts([prompt.text])[0], np.float32)
  assert prompt.image is not None  # a prompt is a text or an image
  image = inputs.rgb(jnp.asarray(read_image(prompt.image), jnp.float32)[None])
  # The whole image, padded to a square: a crop could miss what it shows.
  whole = cutouts_lib.OverviewAndCrops(overviews=1.0, grey=False)
  view = whole(jax.random.key(0), image[0], jnp.zeros(1, int), 1, guide.size)
  found = _encode_image(guide.module, guide.variables, view)
  return np.asarray(found[0], np.float32)


@functools.partial(compilation.jit, static_argnames='module')
def _encode_image(
  module: nn.Module, variables: Mapping[str, Any], image: jax.Array
) -> jax.Array:
  """Returns the embeddings [B, D] of images, compiled once for all prompts."""
  embedding: Any = module.apply(variables, image, method='encode_image')
  return embedding


def load_guide(name: str) -> Guide:
  """Loads a guide other than a CLIP.

  Args:
    name: 'classifier-text', which compares the classes of ImageNet that an
      EfficientNet sees with the prompt; see
      `vq_jax.features.classifier_text`.

  Raises:
    MissingWeights: if its weights are not found; the message says how to get
      them.
    ValueError: if the name is unknown.
  """
  if name not in NAMES:
    raise ValueError(f'a guide is named {" or ".join(NAMES)}; got {name!r}.')
  module, variables, encode_texts = features.load_classifier_text()
  return Guide(
    name=name,
    module=module,
    variables=variables,
    size=module.classifier.size,
    encode_texts=encode_texts,
  )


def load_clip_guide(path: str | os.PathLike) -> Guide:
  """Loads a CLIP as a guide.

  Args:
    path: as for `vq_jax.features.load_clip`.

  Raises:
    MissingWeights: if they are not found; the message says how to get them.
    ValueError: if they are not those of a CLIP.
  """
  module, variables = features.load_clip(path)
  return make_clip_guide(os.fspath(path), module, variables)


def make_clip_guide(
  name: str, module: features.CLIP, variables: Mapping[str, Any]
) -> Guide:
  """Makes a guide of a CLIP.

  Args:
    name: the name in messages.
    module: the CLIP.
    variables: its variables.

  Raises:
    ValueError: if the library `tokenizers` is not installed.
  """
  tokenizer = features.load_tokenizer()
  encode = jax.jit(
    lambda variables, tokens: module.apply(
      variables, tokens, method='encode_text'
    )
  )
  return Guide(
    name=name,
    module=module,
    variables=variables,
    size=module.config.image_size,
    encode_texts=lambda texts: encode(variables, tokenizer(list(texts))),
  )
