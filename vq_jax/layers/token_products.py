"""Products of tokens with a kernel, with gradients that suit the device."""

import functools
import math

import jax


def dot_general(
  x: jax.Array,
  kernel: jax.Array,
  dimension_numbers: jax.lax.DotDimensionNumbers,
  precision: None = None,
) -> jax.Array:
  """Multiplies tokens by a kernel, for `nn.Dense(dot_general=...)`.

  Args:
    x: [..., *inputs].
    kernel: [*inputs, *outputs].
    dimension_numbers: those of `jax.lax.dot_general`; all of the kernel's
      first and of x's last axes are contracted, and there are no batch axes.
    precision: must be None; Flax passes it.

  Returns:
    [..., *outputs].
  """
  assert precision is None
  (axes, _), _ = dimension_numbers
  return _multiply(len(axes), x, kernel)


def _multiply_tokens(axes: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Contracts the last `axes` of x with the first of the kernel."""
  last = tuple(range(x.ndim - axes, x.ndim))
  return jax.lax.dot_general(x, kernel, ((last, tuple(range(axes))), ((), ())))


def _multiply_matrices(axes: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Returns the same, from a product of two matrices."""
  width = math.prod(kernel.shape[:axes])
  y = x.reshape(-1, width) @ kernel.reshape(width, -1)
  return y.reshape(*x.shape[:-axes], *kernel.shape[axes:])


def _pull_back(
  axes: int, arguments: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns the gradients of x and kernel.

  XLA:CPU copies both operands of a product that sums over examples and tokens,
  to make these axes one; of matrices it copies neither.
  """

  def through(multiply):
    multiply = functools.partial(multiply, axes)

    def pull_back(arguments, gradient):
      x, kernel = arguments
      # Unlike `jax.vjp`, this does not compute the product.
      of_x = jax.linear_transpose(lambda x: multiply(x, kernel), x)
      of_kernel = jax.linear_transpose(lambda k: multiply(x, k), kernel)
      return of_x(gradient) + of_kernel(gradient)

    return pull_back

  return jax.lax.platform_dependent(
    arguments,
    gradient,
    cpu=through(_multiply_matrices),
    default=through(_multiply_tokens),
  )


_multiply = jax.custom_vjp(_multiply_tokens, nondiff_argnums=(0,))
_multiply.defvjp(
  lambda axes, x, kernel: (_multiply(axes, x, kernel), (x, kernel)), _pull_back
)
