"""Functions over trees of arrays: averages, sizes, strict merging."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

Tree = Any


def ema(average: Tree, value: Tree, decay: jax.Array | float) -> Tree:
  """Returns decay * average + (1 - decay) * value, leaf by leaf."""
  return jax.tree.map(lambda a, v: a + (1 - decay) * (v - a), average, value)


def count(tree: Tree) -> int:
  """Returns the number of scalars in a tree."""
  return sum(int(np.prod(jnp.shape(leaf))) for leaf in jax.tree.leaves(tree))


def flatten(tree: Mapping) -> dict[str, Any]:
  """Flattens nested dicts to `{'a/b/c': leaf}`."""
  return flax.traverse_util.flatten_dict(tree, sep='/')


def unflatten(flat: Mapping[str, Any]) -> dict:
  """Undoes `flatten`."""
  return flax.traverse_util.unflatten_dict(flat, sep='/')


def merge_strict(
  ours: Mapping,
  loaded: Mapping,
  *,
  keep: Sequence[str] = (),
  source: str = 'the checkpoint',
) -> dict:
  """Replaces the leaves of `ours` by those of `loaded`; both must agree.

  Args:
    ours: nested dict of arrays (or of shapes): what the model expects.
    loaded: nested dict of arrays: what was read.
    keep: prefixes (`'params/decoder'`) whose leaves stay ours.
    source: what `loaded` was read from, for the message.

  Returns:
    A nested dict with the names and shapes of `ours`.

  Raises:
    ValueError: with every name that only the model has (`-`), that only the
      source has (`+`), and every shape that differs (`!`).
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
