"""One key per example: a batch gives the same however it is cut or spread."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.utils import fields


def make_key(rng: jax.Array | int) -> jax.Array:
  """Returns the key that a seed stands for; a key is one already.

  Args:
    rng: a JAX key, of `jax.random.key` or `jax.random.PRNGKey`, or a seed.

  Raises:
    ValueError: if it is neither, or the seed lies outside [0, 2^32).
  """
  if isinstance(rng, jax.Array):
    if jnp.issubdtype(rng.dtype, jax.dtypes.prng_key) and rng.ndim == 0:
      return rng
    if rng.dtype == jnp.uint32 and rng.shape == _key_shape():
      return jax.random.wrap_key_data(rng)
  if not isinstance(rng, int | np.integer) or isinstance(rng, bool):
    raise ValueError(
      'rng must be a JAX key, such as jax.random.key(0), or a seed, a whole '
      f'number; got {fields.shown(rng)}.'
    )
  fields.check_value('the seed', rng, fields.Seed)
  return jax.random.key(int(rng))


def _key_shape() -> tuple[int, ...]:
  """Returns the shape of the data of a key, as this JAX is configured."""
  return jax.eval_shape(jax.random.PRNGKey, 0).shape


def example_keys(rng: jax.Array, places: jax.Array) -> jax.Array:
  """Returns keys [B] for examples that have a place in a larger request.

  Args:
    rng: key of the request.
    places: int32 [B], where each example stands in it.
  """
  return jax.vmap(lambda place: jax.random.fold_in(rng, place))(places)


def fold_in(keys: jax.Array, number: jax.Array | int) -> jax.Array:
  """Folds one number into each of the keys [B]."""
  return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def draw(
  distribution: Callable[..., jax.Array],
  keys: jax.Array,
  shape: tuple[int, ...],
) -> jax.Array:
  """Draws [B, *shape], each example with its own key.

  Args:
    distribution: (key, shape) -> array, such as `jax.random.uniform`.
    keys: [B].
    shape: of one example.
  """
  return jax.vmap(lambda key: distribution(key, shape))(keys)
