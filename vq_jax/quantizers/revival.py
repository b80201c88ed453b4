"""Dead-code revival: a code that nothing chooses goes where it is missed."""

import jax
import jax.numpy as jnp

from vq_jax.utils import replicas


def replacements(
  rng: jax.Array,
  z: jax.Array,
  errors: jax.Array,
  codebook_size: int,
  axis_name: str | None = None,
) -> jax.Array:
  """Draws vectors of the batch to put dead codes on.

  A vector's chance is its squared distance to its nearest code, as in the
  seeding of k-means++: codes go where they mend the largest errors.

  Args:
    rng: key, the same on every replica.
    z: float32 [N, D].
    errors: float32 [N], squared distance of each vector to its code.
    codebook_size: K.
    axis_name: the replicas' axis.

  Returns:
    float32 [K, D], the same on every replica.
  """
  errors = replicas.all_gather(errors, axis_name)
  # By the inverse of the distribution function: `categorical` would draw noise
  # for each pair of code and vector.
  total = jnp.cumsum(jnp.maximum(errors, 1e-12))
  places = jax.random.uniform(rng, (codebook_size,)) * total[-1]
  rows = jnp.minimum(jnp.searchsorted(total, places), total.size - 1)
  return replicas.take_rows(z, rows, axis_name)
