"""Functions of trees of arrays: averages, sizes, strict merging."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

# A pytree: arrays, or nested dicts, tuples and dataclasses of them.
Tree = Any


def ema(average: Tree, value: Tree, decay: jax.Array | float) -> Tree:
  """Returns decay * average + (1 - decay) * value for each leaf."""
  return jax.tree.map(lambda a, v: a + (1 - decay) * (v - a), average, value)


def count(tree: Tree) -> int:
  """Returns the number of scalars in a tree.

  Example:
    >>> count({'kernel': jnp.zeros((3, 4)), 'bias': jnp.zeros(4)})
    16
  """
  return sum(int(np.prod(jnp.shape(leaf))) for leaf in jax.tree.leaves(tree))


def flatten(tree: Mapping) -> dict[str, Any]:
  """Flattens nested dicts to `{'a/b/c': leaf}`; `unflatten` is the inverse."""
  return flax.traverse_util.flatten_dict(tree, sep='/')


def unflatten(flat: Mapping[str, Any]) -> dict:
  """Returns the nested dicts of a flat dict; see `flatten`."""
  return flax.traverse_util.unflatten_dict(flat, sep='/')


def merge_strict(
  ours: Mapping,
  loaded: Mapping,
  *,
  keep: Sequence[str] = (),
  source: str = 'the checkpoint',
) -> dict:
  """Replaces the leaves of a model by those of a checkpoint.

  Names and shapes must be the same.

  Args:
    ours: nested dict of arrays or shapes, those of the model.
    loaded: nested dict of arrays, those of the checkpoint.
    keep: prefixes such as `'params/decoder'`; leaves of `ours` with these
      prefixes are kept.
    source: name of the checkpoint in the message.

  Returns:
    A nested dict with the names and shapes of `ours`.

  Raises:
    ValueError: if names or shapes differ. The message lists every name that
      only the model has (`-`), every name that only the checkpoint has (`+`),
      and every shape that differs (`!`).
  """

  def kept(name):
    return any(name == p or name.startswith(p.rstrip('/') + '/') for p in keep)

  want, have = flatten(ours), flatten(loaded)
  wanted = {name for name in want if not kept(name)}
  given = {name for name in have if not kept(name)}
  lines = [f'  - {name}' for name in sorted(wanted - given)]
  lines += [f'  + {name}' for name in sorted(given - wanted)]
  lines += [
    f'  ! {name}: {jnp.shape(want[name])} here, {jnp.shape(have[name])} there'
    for name in sorted(wanted & given)
    if jnp.shape(want[name]) != jnp.shape(have[name])
  ]
  if lines:
    raise ValueError(
      f'{source} does not fit the model. Names that only the model has (-), '
      'names that only the source has (+), shapes that differ (!):\n'
      + '\n'.join(lines)
    )
  return unflatten({n: want[n] if kept(n) else have[n] for n in want})


def cast_like(tree: Tree, like: Tree) -> Tree:
  """Converts arrays to the dtypes of another tree with the same names.

  Example:
    >>> stored = {'scale': jnp.ones(2, jnp.bfloat16)}
    >>> cast_like(stored, {'scale': jnp.zeros(2)})['scale'].dtype
    dtype('float32')
  """

  def cast(x, y):
    return x if x.dtype == y.dtype else x.astype(y.dtype)

  return jax.tree.map(cast, tree, like)


def update_digest(digest, tree: Tree) -> None:
  """Adds the names, dtypes, shapes and values of a tree to a checksum.

  Args:
    digest: an object of hashlib.
    tree: nested dicts of arrays.

  Example:
    >>> import hashlib
    >>> import numpy as np
    >>> from vq_jax.utils import trees
    >>> digest = hashlib.sha256()
    >>> trees.update_digest(digest, {'scale': np.ones(2)})
    >>> digest.hexdigest()[:6]
    '95a068'
  """
  leaves = flatten(tree)
  for name in sorted(leaves):
    value = np.asarray(leaves[name])
    digest.update(f'{name} {value.dtype} {value.shape}'.encode())
    digest.update(np.ascontiguousarray(value).tobytes())
