"""Parameters of the blocks of a scan, with a leading axis for the blocks."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

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
  leaves, structure = jax.tree.flatten(params['blocks'])
  blocks = zip(*map(_unstack, leaves), strict=True)
  return {
    f'block_{i}': jax.tree.unflatten(structure, block)
    for i, block in enumerate(blocks)
  }


@jax.custom_vjp
def _unstack(x: jax.Array) -> tuple[jax.Array, ...]:
  """Returns the parts x[i]; its gradient is one array that is written once."""
  return tuple(x[i] for i in range(len(x)))


_unstack.defvjp(
  lambda x: (_unstack(x), None), lambda _, gradients: (jnp.stack(gradients),)
)
