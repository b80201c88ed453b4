"""Dead-code revival: a code that nothing chooses goes where it is missed."""

import jax
import jax.numpy as jnp

from vq_jax.utils import replicas


def find_dead_codes(
  sizes: jax.Array,
  counts: jax.Array,
  updates: jax.Array,
  dead_code_threshold: float,
  revive_until_step: int | None,
) -> tuple[jax.Array, jax.Array]:
  """Returns which codes are dead, bool [K], and a code's fair share, [].

  Args:
    sizes: float32 [K], the average counts.
    counts: float32 [K], of this batch. A code that it chose lives.
    updates: int32 [], updates before this one.
    dead_code_threshold: the fraction of its fair share, vectors of the batch
      / K, under which a code is dead.
    revive_until_step: from this update on nothing is dead; None for no end.
  """
  share = counts.sum() / counts.size
  dead = (sizes < dead_code_threshold * share) & (counts == 0)
  if revive_until_step is not None:
    dead &= updates < revive_until_step
  return dead, share


def replacements(
  rng: jax.Array,
  z: jax.Array,
  codes: jax.Array,
  codebook_size: int,
  axis_name: str | None = None,
) -> jax.Array:
  """Draws vectors of the batch to put dead codes on.

  A vector's chance is its squared distance to its code, as in the
  seeding of k-means++: codes go where they mend the largest errors.

  Args:
    rng: key, the same on every replica.
    z: float32 [..., D].
    codes: float32 [..., D], the code of each vector.
    codebook_size: K.
    axis_name: the replicas' axis.

  Returns:
    float32 [K, D], the same on every replica.
  """
  z, codes = (
    jax.lax.stop_gradient(x).reshape(-1, x.shape[-1]) for x in (z, codes)
  )
  errors = jnp.sum(jnp.square(z - codes), axis=-1)
  errors = replicas.all_gather(errors, axis_name)
  # By the inverse of the distribution function: `categorical` would draw noise
  # for each pair of code and vector.
  total = jnp.cumsum(jnp.maximum(errors, 1e-12))
  places = jax.random.uniform(rng, (codebook_size,)) * total[-1]
  rows = jnp.minimum(jnp.searchsorted(total, places), total.size - 1)
  return replicas.take_rows(z, rows, axis_name)
