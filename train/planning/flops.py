"""Multiplications and additions of a function, counted before compilation."""

import math
from collections.abc import Iterator
from collections.abc import Sequence

import jax
from jax.extend import core

# What the devices of a platform are called where a program asks for it.
_ALIASES = {'gpu': ('cuda', 'rocm')}


def count(jaxpr: core.Jaxpr, platform: str | None = None) -> int:
  """Returns the operations of all matrix products and convolutions.

  A multiplication and an addition are two. Loops count once for each trip, and
  loops without a known number of trips once; of conditionals the dearest branch
  counts. What is computed again in the backward pass counts again.

  Args:
    jaxpr: the function.
    platform: that of the devices, such as 'tpu', for functions that compute the
      same differently on other platforms; None counts the dearest way.

  Example:
    >>> x = jax.numpy.ones((2, 3))
    >>> count(jax.make_jaxpr(lambda x: x @ x.T)(x).jaxpr)
    24
  """
  total = 0
  for equation in jaxpr.eqns:
    inner = [count(sub, platform) for sub in _inner_jaxprs(equation)]
    name = equation.primitive.name
    if name == 'dot_general':
      total += _count_dot(equation)
    elif name == 'conv_general_dilated':
      total += _count_convolution(equation)
    elif name == 'cond':
      total += max(inner[i] for i in _get_branches(equation, platform))
    else:
      total += _count_runs(equation) * sum(inner)
  return total


def _count_runs(equation: core.JaxprEqn) -> int:
  """Returns how often an equation runs the functions in its parameters."""
  if equation.primitive.name == 'pallas_call':
    return math.prod(equation.params['grid_mapping'].grid)
  if equation.primitive.name == 'shard_map':
    return equation.params['mesh'].size
  return equation.params.get('length', 1)


def _get_branches(
  equation: core.JaxprEqn, platform: str | None
) -> Sequence[int]:
  """Returns the indices of the branches that can run on a platform."""
  platforms = equation.params.get('branches_platforms')
  if platforms is None or platform is None:
    return range(len(equation.params['branches']))
  aliases = {platform, *_ALIASES.get(platform, ())}
  own = [i for i, names in enumerate(platforms) if aliases & {*(names or ())}]
  return own or [platforms.index(None)]


def _inner_jaxprs(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
  for value in jax.tree.leaves(
    list(equation.params.values()),
    is_leaf=lambda x: isinstance(x, core.Jaxpr | core.ClosedJaxpr),
  ):
    if isinstance(value, core.ClosedJaxpr):
      yield value.jaxpr
    elif isinstance(value, core.Jaxpr):
      yield value


def _count_dot(equation: core.JaxprEqn) -> int:
  (contracted, _), _ = equation.params['dimension_numbers']
  shape = equation.invars[0].aval.shape
  terms = math.prod(shape[i] for i in contracted)
  return 2 * terms * math.prod(equation.outvars[0].aval.shape)


def _count_convolution(equation: core.JaxprEqn) -> int:
  kernel = equation.invars[1].aval.shape
  _, inputs, *spatial = equation.params['dimension_numbers'].rhs_spec
  terms = kernel[inputs] * math.prod(kernel[i] for i in spatial)
  # The zeros between the elements of a dilated input are not multiplied.
  zeros = math.prod(equation.params['lhs_dilation'])
  return 2 * terms * math.prod(equation.outvars[0].aval.shape) // zeros
