"""One key per example: a batch gives the same however it is cut or spread."""

from collections.abc import Callable

import jax


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
