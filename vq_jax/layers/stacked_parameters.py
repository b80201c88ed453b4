"""Parameters of a stack of blocks: of all blocks in one array, or apart."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.utils.trees import Tree


def cast_kernels(params: Tree, dtype: jnp.dtype) -> Tree:
  """Returns the parameters of a scan, its kernels in the dtype of products.

  Each block would cast its own kernels otherwise, and keep the results for the
  backward pass. The gradient of a kernel has this dtype in both cases.
  """
  return jax.tree.map(lambda x: x.astype(dtype) if x.ndim > 2 else x, params)


def unroll(params: Mapping[str, Tree]) -> dict[str, Tree]:
  """Returns the parameters of a stack as those of one with `scan=False`.

  Example:
    >>> import numpy as np
    >>> from vq_jax.layers import stacked_parameters
    >>> stacked = {'blocks': {'scale': np.ones((2, 3))}}
    >>> sorted(stacked_parameters.unroll(stacked))
    ['block_0', 'block_1']
  """
  blocks = params['blocks']
  layers = len(jax.tree.leaves(blocks)[0])
  return {
    f'block_{i}': jax.tree.map(lambda x, i=i: x[i], blocks)
    for i in range(layers)
  }


def stack(params: Mapping[str, Tree]) -> dict[str, Tree]:
  """Returns the parameters of a stack as those of one with `scan=True`.

  It is the inverse of `unroll`. The result is on the host, since it may not fit
  one device.
  """
  blocks = [params[f'block_{i}'] for i in range(len(params))]
  return {'blocks': jax.tree.map(lambda *parts: np.stack(parts), *blocks)}


def arrange_like(variables: Tree, wanted: Tree) -> Tree:
  """Returns variables whose stacks are arranged as those of other ones.

  Args:
    variables: nested dict of arrays, in which blocks are stacked or apart.
    wanted: nested dict of arrays with the wanted arrangement.
  """
  if not isinstance(variables, Mapping) or not isinstance(wanted, Mapping):
    return variables
  if 'blocks' in variables and 'block_0' in wanted:
    return unroll(variables)
  if 'block_0' in variables and 'blocks' in wanted:
    return stack(variables)
  return {
    name: arrange_like(value, wanted.get(name))
    for name, value in variables.items()
  }
