"""Random variables without `init`, whose compilation takes long."""

import jax
import jax.numpy as jnp
import numpy as np


def random_variables(module, *args, seed=0, **kwargs):
  """Fills the variables of a module with reproducible numbers.

  Kernels have variance 1 / fan-in, scales lie about 1, biases about 0. Of a
  codebook's state, counts are 1 and the number of updates is 0.
  """
  shapes = jax.eval_shape(
    lambda: module.init(jax.random.key(0), *args, **kwargs)
  )
  rng = np.random.default_rng(seed)

  def fill(path, leaf):
    name = path[-1].key
    if not leaf.shape:
      return np.zeros((), leaf.dtype)
    if name == 'cluster_size':
      return np.ones(leaf.shape, leaf.dtype)
    fan_in = max(np.prod(leaf.shape[:-1]), 1)
    noise = rng.normal(size=leaf.shape)
    offset = float(name == 'scale')
    spread = 0.1 if len(leaf.shape) == 1 else fan_in**-0.5
    return np.asarray(offset + spread * noise, leaf.dtype)

  return jax.tree.map(
    jnp.asarray, jax.tree_util.tree_map_with_path(fill, shapes)
  )
