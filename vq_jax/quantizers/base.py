"""The interface of the quantizers, and the functions that all of them use."""

import math

import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.utils import replicas


@flax.struct.dataclass
class Quantized:
  """The output of a quantizer.

  Attributes:
    quantized: float32 [..., D], the codes of the vectors. They are equal to
      `lookup(indices)`; `vq_jax.quantizers.gradients` defines their gradient.
    indices: int32 [..., *index_shape], the index of each code. An index of -1
      stands for no code (a level that `ResidualQuantizer` dropped).
    loss: float32 [], the quantizer's term of the training objective.
    stats: name -> float32 [], statistics for logging. They carry no gradient.
  """

  quantized: jax.Array
  indices: jax.Array
  loss: jax.Array
  stats: dict[str, jax.Array]


class Quantizer(checked.CheckedModule):
  """The base class of the quantizers.

  A quantizer has the fields or properties `codebook_size` (K, the number of
  values of an index), `code_dim` (D, the width of the vectors) and
  `index_shape`, and the methods `__call__(z, *, train=False) -> Quantized` and
  `lookup(indices) -> codes`. These are all that autoencoders use.
  """

  @property
  def index_shape(self) -> tuple[int, ...]:
    """The shape of the index of one vector; () if it is a single integer."""
    return ()

  def _check_input(self, z: jax.Array) -> jax.Array:
    """Returns z [..., D] as float32.

    Raises:
      ValueError: if the last axis of z is not `code_dim`.
    """
    check_width(z, self.code_dim, type(self).__name__)
    return z.astype(jnp.float32)


def check_width(z: jax.Array, width: int, name: str) -> None:
  """Raises ValueError unless the last axis of `z` is `width`."""
  if z.ndim < 1 or z.shape[-1] != width:
    raise ValueError(
      f'{name} quantizes vectors of width {width}; got an array of shape '
      f'{z.shape}. Let the encoder end in {width} channels, or set '
      f'code_dim={z.shape[-1] if z.ndim else 1}.'
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
    indices: int32 [..., *index_shape]. Negative indices are not counted.
    codebook_size: K. The result has K elements per codebook; for codebooks too
      large for that, see `batch_stats`.
    index_shape: () for one codebook; (G,) if each vector has an index into
      each of G codebooks, which are counted separately.
    axis_name: name of the pmap axis, or None.
    weights: float [...], the weight of each vector; 1 by default.

  Returns:
    float32 [*index_shape, K].
  """
  books = math.prod(index_shape)
  flat = indices.reshape(-1, books)
  increments = (flat >= 0).astype(jnp.float32)
  if weights is not None:
    increments *= weights.reshape(-1, 1)
  positions = jnp.maximum(flat, 0) + codebook_size * jnp.arange(books)[None]
  counts = jnp.zeros(books * codebook_size, jnp.float32)
  counts = counts.at[positions].add(increments)
  return replicas.psum(counts.reshape(*index_shape, codebook_size), axis_name)


def usage(counts: jax.Array) -> jax.Array:
  """Returns the fraction of codes that were chosen at least once, float32 [].

  Args:
    counts: [..., K], how often each code was chosen.
  """
  return jnp.mean((jnp.asarray(counts) > 0).astype(jnp.float32))


def perplexity(counts: jax.Array) -> jax.Array:
  """Returns exp(H(p)) of the empirical distribution p over the codes.

  It is the number of codes that, chosen equally often, have the same entropy.

  Args:
    counts: [..., K], how often each code was chosen.

  Returns:
    float32 [], between 1 and K, and 1 if nothing was counted. The mean over
    the codebooks, if there are several.
  """
  counts = jnp.asarray(counts, jnp.float32)
  p = counts / jnp.maximum(counts.sum(axis=-1, keepdims=True), 1)
  return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(p, p), axis=-1)).mean()


def batch_stats(
  indices: jax.Array, codebook_size: int, axis_name: str | None = None
) -> dict[str, jax.Array]:
  """Returns `batch_usage` and `batch_perplexity`, float32 [].

  Both are bounded by the number of vectors in the batch, so they do not
  describe a data set; `vq_jax.metrics.codebook` has metrics that do. The
  indices are sorted, and equal ones counted, so that the cost depends on the
  batch alone and not on K.

  Args:
    indices: int32 [...], not negative.
    codebook_size: K.
    axis_name: name of the pmap axis, or None.
  """
  flat = jnp.sort(replicas.all_gather(indices.reshape(-1), axis_name))
  is_new = jnp.ones(flat.size, bool).at[1:].set(flat[1:] != flat[:-1])
  counts = jax.ops.segment_sum(
    jnp.ones(flat.size), jnp.cumsum(is_new) - 1, num_segments=flat.size
  )
  return {
    'batch_usage': is_new.sum() / codebook_size,
    'batch_perplexity': perplexity(counts),
  }


def mean_square(x: jax.Array) -> jax.Array:
  """Returns the mean of x^2 over all elements, and 0 for an empty array."""
  return jnp.sum(jnp.square(x)) / max(x.size, 1)


def commitment_loss(z: jax.Array, codes: jax.Array) -> jax.Array:
  """Returns mean (z - sg[e])^2, whose gradient pulls latents to their codes."""
  return mean_square(z - jax.lax.stop_gradient(codes))


def vq_loss(
  z: jax.Array,
  codes: jax.Array,
  commitment_weight: float,
  *,
  legacy: bool = False,
) -> jax.Array:
  """Returns mean (e - sg[z])^2 + commitment_weight * mean (z - sg[e])^2.

  Args:
    z: float32 [..., D], the latents.
    codes: float32 [..., D], e.
    commitment_weight: weight of the commitment loss, the second term.
    legacy: whether the weight multiplies the first term, the codebook loss,
      instead.
  """
  codebook = mean_square(codes - jax.lax.stop_gradient(z))
  commitment = commitment_loss(z, codes)
  if legacy:
    return commitment_weight * codebook + commitment
  return codebook + commitment_weight * commitment
