"""What is optimised: latents of an autoencoder, and the images they decode to.

`form` names what stands for an image:

  * 'quantized': the vectors before the quantizer. They are quantized in each
    step, and the gradient passes straight through, as in VQGAN+CLIP
    (arXiv:2204.08583, 3.1).
  * 'continuous': the same vectors, decoded without a quantizer; the latents of
    an AE or VAE are always such ones.
  * 'logits': logits over the codebook at each position. The code of the largest
    logit is decoded, and the gradient is that of the mean code under
    softmax(logits).

Latents are arrays [B, h, w, D], or tuples of them for a hierarchy of grids.
"""

from collections.abc import Mapping
from typing import Any
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.guidance import losses
from vq_jax.quantizers import gradients
from vq_jax.utils.argmax import argmax

Form = Literal['quantized', 'continuous', 'logits']
Latents = jax.Array | tuple[jax.Array, ...]
Variables = Mapping[str, Any]

# Logits of tokens that are given; the others have 0.
_KNOWN_LOGIT = 4.0
# A table of all codes is made for codebooks up to this size.
_MAX_CODES = 2**16


def check_form(autoencoder: nn.Module, form: Form) -> None:
  """Checks that an autoencoder's latents can have a form.

  Raises:
    ValueError: if they cannot; the message names the forms that they can have.
  """
  grids = autoencoder.token_grids
  if not grids and form != 'continuous':
    raise ValueError(
      f'{type(autoencoder).__name__} has no quantizer, so its latents can only '
      f"be optimised in the form 'continuous'; got {form!r}."
    )
  if form == 'logits' and any(
    grid.index_shape or grid.codebook_size > _MAX_CODES for grid in grids
  ):
    raise ValueError(
      "the form 'logits' needs one index per vector and at most "
      f'{_MAX_CODES} codes; this autoencoder has '
      f'{[(*grid.index_shape, grid.codebook_size) for grid in grids]}. Use '
      "'quantized' or 'continuous'."
    )


def decode(
  autoencoder: nn.Module, variables: Variables, latents: Latents, form: Form
) -> jax.Array:
  """Decodes latents to images, differentiably.

  Args:
    autoencoder: any autoencoder.
    variables: its variables.
    latents: see the module's docstring.
    form: the form of the latents.

  Returns:
    float32 [B, H, W, C] in [0, 1]; gradients pass back into the range, see
    `losses.clip_with_gradient`.
  """
  if form == 'logits':
    codes = jax.tree.map(
      _soft_choice, latents, _codebooks(autoencoder, variables)
    )
  elif form == 'quantized':
    quantized: Any = autoencoder.apply(variables, latents, method='quantize')
    codes = quantized.quantized
  else:
    codes = latents
  image: Any = autoencoder.apply(variables, codes, method='decode')
  return losses.clip_with_gradient(image.astype(jnp.float32))


def from_image(
  autoencoder: nn.Module, variables: Variables, image: jax.Array, form: Form
) -> Latents:
  """Encodes images to latents.

  Args:
    autoencoder: any autoencoder.
    variables: its variables.
    image: float [B, H, W, C] in [0, 1]; H and W are multiples of `stride`.
    form: the form of the latents.
  """
  if form == 'logits':
    encoded: Any = autoencoder.apply(variables, image, method='encode')
    return _to_logits(autoencoder, encoded.indices)
  latents = autoencoder.apply(variables, image, method='latents')
  return jax.tree.map(lambda z: z.astype(jnp.float32), latents)


def from_tokens(
  autoencoder: nn.Module, variables: Variables, indices: Latents, form: Form
) -> Latents:
  """Returns latents that decode to the image of given tokens.

  Codes are latents themselves where the quantizer leaves them as they are. If
  it does not (FSQ bounds its input, Gumbel quantizers project it), the decoded
  image is encoded again.

  Args:
    autoencoder: an autoencoder with a quantizer.
    variables: its variables.
    indices: int32 [B, h, w, *index_shape], or a tuple of them.
    form: the form of the latents.
  """
  if form == 'logits':
    return _to_logits(autoencoder, indices)
  codes = lookup(autoencoder, variables, indices)
  if form == 'continuous' or _is_kept(autoencoder, variables, codes, indices):
    return codes
  image: Any = autoencoder.apply(variables, codes, method='decode')
  return from_image(autoencoder, variables, jnp.clip(image, 0, 1), form)


def random_tokens(
  autoencoder: nn.Module, keys: jax.Array, height: int, width: int
) -> Latents:
  """Samples tokens uniformly, one image per key [B]; see `from_tokens`."""
  grids = autoencoder.token_grids

  def sample(key):
    parts = zip(jax.random.split(key, len(grids)), grids, strict=True)
    return tuple(
      jax.random.randint(part, grid.shape(height, width), 0, grid.codebook_size)
      for part, grid in parts
    )

  tokens = jax.vmap(sample)(keys)
  return tokens if len(grids) > 1 else tokens[0]


def code_range(
  autoencoder: nn.Module, variables: Variables, form: Form
) -> tuple[Latents, Latents] | None:
  """Returns the smallest and the largest value of the codes, per channel.

  Args:
    autoencoder: any autoencoder.
    variables: its variables.
    form: the form of the latents.

  Returns:
    two arrays [1, 1, 1, D], or two tuples of them; None if the codes do not
    bound the latents: without a quantizer, for logits, and for quantizers that
    do not leave codes as they are.
  """
  grids = autoencoder.token_grids
  if form == 'logits' or not grids:
    return None
  grid_indices = tuple(
    jnp.broadcast_to(
      jnp.arange(min(grid.codebook_size, _MAX_CODES)).reshape(
        1, -1, 1, *(1 for _ in grid.index_shape)
      ),
      (1, min(grid.codebook_size, _MAX_CODES), 1, *grid.index_shape),
    )
    for grid in grids
  )
  indices = grid_indices if len(grids) > 1 else grid_indices[0]
  codes = lookup(autoencoder, variables, indices)
  if not _is_kept(autoencoder, variables, codes, indices):
    return None
  low, high = (
    jax.tree.map(
      lambda part, f=f: f(part, axis=(0, 1, 2), keepdims=True), codes
    )
    for f in (jnp.min, jnp.max)
  )
  return low, high


def lookup(
  autoencoder: nn.Module, variables: Variables, indices: Latents
) -> Latents:
  """Returns the codes, float32 [..., D], of tokens."""
  codes: Any = autoencoder.apply(variables, indices, method='lookup')
  return codes


def _codebooks(autoencoder: nn.Module, variables: Variables) -> Latents:
  """Returns the codes [K, D] of each grid."""
  tables = tuple(
    jnp.arange(grid.codebook_size) for grid in autoencoder.token_grids
  )
  return lookup(
    autoencoder, variables, tables if len(tables) > 1 else tables[0]
  )


def _to_logits(autoencoder: nn.Module, indices: Latents) -> Latents:
  sizes = tuple(grid.codebook_size for grid in autoencoder.token_grids)
  return jax.tree.map(
    lambda part, size: _KNOWN_LOGIT * jax.nn.one_hot(part, size),
    indices,
    sizes if len(sizes) > 1 else sizes[0],
  )


def _soft_choice(logits: jax.Array, codebook: jax.Array) -> jax.Array:
  """Returns the code of the largest logit, with the gradient of the mean."""
  soft = jax.nn.softmax(logits) @ codebook
  return gradients.with_gradient_of(codebook[argmax(logits)], soft)


def _is_kept(
  autoencoder: nn.Module, variables: Variables, codes: Latents, indices: Latents
) -> bool:
  """Returns whether the quantizer maps codes to themselves, almost all."""
  quantized: Any = autoencoder.apply(variables, codes, method='quantize')
  close = jax.tree.map(
    lambda a, b: jnp.abs(a - b).max() < 1e-4, quantized.quantized, codes
  )
  return all(bool(part) for part in jax.tree.leaves(close))
