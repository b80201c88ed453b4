"""Random keys, one per example, so that batching never changes a sample."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.utils import fields


def make_key(key: jax.Array | int) -> jax.Array:
  """Returns the JAX key of a seed; a key is returned as it is.

  Args:
    key: a JAX key, of `jax.random.key` or `jax.random.PRNGKey`, or a seed.

  Raises:
    ValueError: if it is neither, or the seed lies outside [0, 2^32).
  """
  if isinstance(key, jax.Array):
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0:
      return key
    if key.dtype == jnp.uint32 and key.shape == _key_shape():
      return jax.random.wrap_key_data(key)
  if not isinstance(key, int | np.integer) or isinstance(key, bool):
    raise ValueError(
      'key must be a JAX key, such as jax.random.key(0), or a seed, a whole '
      f'number; got {fields.format_value(key)}.'
    )
  fields.check_value('the seed', key, fields.Seed)
  return jax.random.key(int(key))


def _key_shape() -> tuple[int, ...]:
  """Returns the shape of the data of a key, as this JAX is configured."""
  return jax.eval_shape(jax.random.PRNGKey, 0).shape


def example_keys(key: jax.Array, index: jax.Array | np.ndarray) -> jax.Array:
  """Returns one key per example, from the key of a request.

  Args:
    key: the key of the request.
    index: int32 [B], the number of each example within the request.

  Returns:
    keys [B]; the key of an example depends on its own index alone.
  """
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)


def fold_in(keys: jax.Array, number: jax.Array | int) -> jax.Array:
  """Folds one number into each of the keys [B]."""
  return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def sample(
  distribution: Callable[..., jax.Array],
  keys: jax.Array,
  shape: tuple[int, ...],
) -> jax.Array:
  """Samples an array [B, *shape], each example with its own key.

  Args:
    distribution: (key, shape) -> array, such as `jax.random.uniform`.
    keys: [B].
    shape: the shape for one example.
  """
  return jax.vmap(lambda key: distribution(key, shape))(keys)
