"""What every quantizer returns, and the few lines that all of them share."""

import math

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.utils import replicas


@flax.struct.dataclass
class Quantized:
  """A quantized latent.

  Attributes:
    quantized: float32 [..., D], the chosen codes, equal to `lookup(indices)`;
      the gradient passes to the latent that was quantized, see `gradients`.
    indices: int32 [..., *index_shape], which codes; see `index_shape` of the
      quantizer. A negative one chose none.
    loss: float32 [], what the quantizer adds to the training objective.
    stats: name -> float32 [], for the eye alone: no gradient flows.
  """

  quantized: jax.Array
  indices: jax.Array
  loss: jax.Array
  stats: dict[str, jax.Array]


def check_width(z: jax.Array, width: int, quantizer: nn.Module) -> None:
  """Raises ValueError unless the last axis of `z` is `width`."""
  if z.ndim < 1 or z.shape[-1] != width:
    raise ValueError(
      f'{type(quantizer).__name__} quantizes vectors of width {width}; got an '
      f'array of shape {z.shape}. Let the encoder end in {width} channels, or '
      f'set code_dim={z.shape[-1] if z.ndim else 1}.'
    )


def code_counts(
  indices: jax.Array,
  codebook_size: int,
  index_shape: tuple[int, ...] = (),
  axis_name: str | None = None,
  weights: jax.Array | None = None,
) -> jax.Array:
  """Counts how often each code was chosen, over all replicas.

  Args:
    indices: int32 [..., *index_shape]; a negative one chose no code.
    codebook_size: K.
    index_shape: () for one codebook; (G,) if each vector has an index into
      each of G codebooks, which are counted apart.
    axis_name: the replicas' axis.
    weights: float [...], what a vector counts; 1 by default.

  Returns:
    float32 [*index_shape, K].
  """
  books = math.prod(index_shape)
  flat = indices.reshape(-1, books)
  weighed = (flat >= 0).astype(jnp.float32)
  if weights is not None:
    weighed *= weights.reshape(-1, 1)
  places = jnp.maximum(flat, 0) + codebook_size * jnp.arange(books)[None]
  counts = jnp.zeros(books * codebook_size, jnp.float32).at[places].add(weighed)
  counts = counts.reshape(*index_shape, codebook_size)
  return replicas.psum(counts, axis_name)


def usage(counts: jax.Array) -> jax.Array:
  """Returns the fraction of codes chosen at least once, float32 [].

  Args:
    counts: [..., K], how often each code was chosen.
  """
  return jnp.mean((jnp.asarray(counts) > 0).astype(jnp.float32))


def perplexity(counts: jax.Array) -> jax.Array:
  """Returns exp of the entropy of the choice: as many codes, evenly used.

  Args:
    counts: [..., K], how often each code was chosen.

  Returns:
    float32 [], in [1, K]; 1 if nothing was counted. With several codebooks it
    is their mean.
  """
  counts = jnp.asarray(counts, jnp.float32)
  p = counts / jnp.maximum(counts.sum(axis=-1, keepdims=True), 1)
  return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(p, p), axis=-1)).mean()


def batch_stats(counts: jax.Array) -> dict[str, jax.Array]:
  """Returns `batch_usage` and `batch_perplexity` of counts [..., K].

  Both are bounded by the number of vectors in the batch: they tell how the
  codebook moves, not how well it serves a data set. For that see
  `vq_jax.metrics.codebook`.
  """
  return {
    'batch_usage': usage(counts),
    'batch_perplexity': perplexity(counts),
  }


def mean_square(x: jax.Array) -> jax.Array:
  """Mean over all elements, 0 for an empty array."""
  return jnp.sum(jnp.square(x)) / max(x.size, 1)


def commitment_loss(z: jax.Array, codes: jax.Array) -> jax.Array:
  """Returns mean (sg[e] - z)^2: it pulls latents to their codes."""
  return mean_square(jax.lax.stop_gradient(codes) - z)


def codebook_loss(z: jax.Array, codes: jax.Array) -> jax.Array:
  """Returns mean (e - sg[z])^2: it pulls codes to their latents."""
  return mean_square(codes - jax.lax.stop_gradient(z))


def weighed_losses(
  commitment: jax.Array,
  codebook: jax.Array,
  commitment_weight: float,
  legacy: bool = False,
) -> jax.Array:
  """Adds the two losses; the weight is on the codebook loss if `legacy`."""
  if legacy:
    return commitment_weight * codebook + commitment
  return codebook + commitment_weight * commitment
