"""How well a codebook is used.

A figure says over what it was taken, in its name: `batch_*` come from the
quantizer, `window_*` from the last batches, `dataset_*` from a whole split.
They are not comparable: a batch of few vectors cannot choose many codes.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


def count(indices: jax.Array | np.ndarray, codebook_size: int) -> np.ndarray:
  """Counts how often each code was chosen; counts of batches add up.

  Args:
    indices: int [...], any shape.
    codebook_size: K.

  Returns:
    int64 [K], on the host: exact for any data set.

  Raises:
    ValueError: if an index is not in [0, K).
  """
  indices = np.asarray(indices).ravel()
  if indices.size and not 0 <= indices.min() <= indices.max() < codebook_size:
    raise ValueError(
      f'indices must be in [0, {codebook_size}); got '
      f'{indices.min()} ... {indices.max()}.'
    )
  return np.bincount(indices, minlength=codebook_size).astype(np.int64)


def usage(counts: jax.Array | np.ndarray) -> jax.Array:
  """Returns the fraction of codes chosen at least once, float32 [].

  Args:
    counts: [K].
  """
  return jnp.mean((jnp.asarray(counts, jnp.float32) > 0).astype(jnp.float32))


def perplexity(counts: jax.Array | np.ndarray) -> jax.Array:
  """Returns exp of the entropy of the choice: as many codes, evenly used.

  Args:
    counts: [K].

  Returns:
    float32 [], in [1, K]; 1 if nothing was counted.
  """
  counts = jnp.asarray(counts, jnp.float32)
  p = counts / jnp.maximum(counts.sum(), 1)
  return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(p, p)))


def dataset_stats(counts: jax.Array | np.ndarray) -> dict[str, jax.Array]:
  """Returns `dataset_usage` and `dataset_perplexity` of counts [K]."""
  return {
    'dataset_usage': usage(counts),
    'dataset_perplexity': perplexity(counts),
  }


@flax.struct.dataclass
class CodebookWindow:
  """The counts of the last batches.

  A value: `add` returns a new window, so it can live in a training state and
  under jit.

  Attributes:
    counts: float32 [n, K], one row per batch, the oldest overwritten first.
    batches: int32 [], how many have been added in all.
  """

  counts: jax.Array
  batches: jax.Array

  @classmethod
  def create(cls, codebook_size: int, length: int) -> 'CodebookWindow':
    """Returns an empty window over the last `length` batches."""
    if length < 1:
      raise ValueError(f'a window holds at least one batch; got {length}.')
    return cls(jnp.zeros((length, codebook_size)), jnp.int32(0))

  def add(self, counts: jax.Array) -> 'CodebookWindow':
    """Adds the counts [K] of one batch; the oldest falls out."""
    row = self.batches % len(self.counts)
    return self.replace(
      counts=self.counts.at[row].set(jnp.asarray(counts, jnp.float32)),
      batches=self.batches + 1,
    )

  def stats(self) -> dict[str, jax.Array]:
    """Returns `window_usage` and `window_perplexity`."""
    total = self.counts.sum(axis=0)
    return {
      'window_usage': usage(total),
      'window_perplexity': perplexity(total),
    }
