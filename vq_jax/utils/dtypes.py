"""The dtypes of a module, as keyword arguments."""

from typing import TypedDict

import jax.numpy as jnp


class Dtypes(TypedDict):
  """What modules pass on to their layers, by `**`.

  Attributes:
    dtype: the dtype of the computation.
    param_dtype: the dtype of the parameters.

  Example:
    >>> import flax.linen as nn
    >>> import jax.numpy as jnp
    >>> types: Dtypes = {'dtype': jnp.float32, 'param_dtype': jnp.float32}
    >>> nn.Dense(3, **types).dtype == jnp.float32
    True
  """

  dtype: jnp.dtype
  param_dtype: jnp.dtype
