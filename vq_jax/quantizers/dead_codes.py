"""Dead-code revival: codes that are no longer chosen are replaced by latents.

Jukebox (https://arxiv.org/abs/2005.00341, 3.1) and SoundStream
(https://arxiv.org/abs/2107.03312, 3.3) replace them by random latents of the
batch. Here a latent is sampled in proportion to its quantization error.
"""

import jax
import jax.numpy as jnp

from vq_jax.utils import replicas


def find_dead_codes(
  average_counts: jax.Array,
  counts: jax.Array,
  updates: jax.Array,
  dead_code_threshold: float,
  revive_until_step: int | None,
) -> tuple[jax.Array, jax.Array]:
  """Returns which codes are dead.

  Args:
    average_counts: float32 [K], moving averages of the counts.
    counts: float32 [K], of this batch. A code with a count above 0 is not dead.
    updates: int32 [], the number of training steps before this one.
    dead_code_threshold: a code is dead if its average count is below this
      fraction of the mean count, vectors of the batch / K.
    revive_until_step: no code is dead from this training step on; None for no
      limit.

  Returns:
    bool [K], and the mean count, float32 [].
  """
  mean_count = counts.sum() / counts.size
  dead = (average_counts < dead_code_threshold * mean_count) & (counts == 0)
  if revive_until_step is not None:
    dead &= updates < revive_until_step
  return dead, mean_count


def sample_replacements(
  rng: jax.Array,
  z: jax.Array,
  codes: jax.Array,
  codebook_size: int,
  axis_name: str | None = None,
) -> jax.Array:
  """Samples latents of the batch by their squared quantization error.

  As in the seeding of k-means++, the probability of a latent is proportional to
  its squared distance to its code.

  Args:
    rng: key, the same on every replica.
    z: float32 [..., D], the latents.
    codes: float32 [..., D], the code of each latent.
    codebook_size: K.
    axis_name: name of the pmap axis, or None.

  Returns:
    float32 [K, D], the same on every replica.
  """
  z, codes = (
    jax.lax.stop_gradient(x).reshape(-1, x.shape[-1]) for x in (z, codes)
  )
  errors = jnp.sum(jnp.square(z - codes), axis=-1)
  errors = replicas.all_gather(errors, axis_name)
  # Inverse transform sampling: `jax.random.categorical` would need noise for
  # each pair of a code and a latent.
  cumulative = jnp.cumsum(jnp.maximum(errors, 1e-12))
  thresholds = jax.random.uniform(rng, (codebook_size,)) * cumulative[-1]
  rows = jnp.searchsorted(cumulative, thresholds)
  rows = jnp.minimum(rows, cumulative.size - 1)
  return replicas.take_rows(z, rows, axis_name)
