"""Products of arrays, with gradients that suit the device."""

import functools
import math
import string

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

# The names of products for policies of `jax.checkpoint`, which cannot look into
# functions with a gradient of their own.
PRODUCT = 'product'
BATCHED_PRODUCT = 'product with batch axes'


def einsum(
  subscripts: str,
  x: jax.Array,
  y: jax.Array,
  dtype: DTypeLike | None = None,
) -> jax.Array:
  """Returns `jnp.einsum(subscripts, x, y)`, fast on CPUs in bfloat16, too.

  In bfloat16 it has no forward-mode derivative (`jax.jvp`).

  Args:
    subscripts: letters such as 'bnd,kd->bnk', each in two terms or in all.
    x: an array.
    y: an array of the same dtype.
    dtype: that of the output; of the arrays if None.
  """
  dtype = jnp.dtype(dtype or x.dtype)
  if x.dtype != jnp.bfloat16:
    return _einsum(subscripts, dtype, x, y)
  inputs, output = subscripts.split('->')
  of_x, of_y = map(set, inputs.split(','))
  return checkpoint_name(
    _einsum_bfloat16(subscripts, dtype, x, y),
    BATCHED_PRODUCT if of_x & of_y & set(output) else PRODUCT,
  )


def project(x: jax.Array, kernel: jax.Array, axes: int = 1) -> jax.Array:
  """Multiplies tokens by a kernel.

  Args:
    x: [..., *inputs].
    kernel: [*inputs, *outputs], of the same dtype.
    axes: the number of axes to contract, x's last and the kernel's first.

  Returns:
    [..., *outputs], of that dtype.
  """
  if x.dtype != jnp.bfloat16:
    return checkpoint_name(_project(axes, x, kernel), PRODUCT)
  letters = string.ascii_letters
  tokens, letters = letters[: x.ndim - axes], letters[x.ndim - axes :]
  of_kernel = letters[: kernel.ndim]
  inputs, outputs = of_kernel[:axes], of_kernel[axes:]
  return einsum(f'{tokens}{inputs},{of_kernel}->{tokens}{outputs}', x, kernel)


def _einsum(
  subscripts: str, dtype: jnp.dtype, x: jax.Array, y: jax.Array
) -> jax.Array:
  return jnp.einsum(subscripts, x, y, preferred_element_type=dtype)


# The functions with `jax.jit` are inlined, so they are no calls in the program,
# but they are traced once for all layers of one shape.
@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def _einsum_bfloat16(
  subscripts: str, dtype: jnp.dtype, x: jax.Array, y: jax.Array
) -> jax.Array:
  return jax.lax.platform_dependent(
    x,
    y,
    cpu=functools.partial(_einsum_on_cpu, subscripts, dtype),
    default=functools.partial(_einsum, subscripts, dtype),
  )


def _einsum_on_cpu(
  subscripts: str, dtype: jnp.dtype, x: jax.Array, y: jax.Array
) -> jax.Array:
  """Returns the same.

  Where the processor can multiply bfloat16, XLA:CPU does it if the product is
  float32. It converts the factors of all other products to float32.
  """
  return _einsum(subscripts, jnp.dtype(jnp.float32), x, y).astype(dtype)


def pull_back_on_cpu(
  subscripts: str, x: jax.Array, y: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns the gradients of x and y, in their dtype, from that of `einsum`.

  Both are products in bfloat16, too, so the gradient is converted to it.

  Args:
    subscripts: those of `einsum`.
    x: its first argument.
    y: its second argument.
    gradient: the gradient of its output.
  """
  inputs, of_gradient = subscripts.split('->')
  of_x, of_y = inputs.split(',')
  gradient = gradient.astype(x.dtype)

  def contract(*factors: tuple[str, jax.Array], to: str) -> jax.Array:
    (of_a, a), (of_b, b) = factors
    # XLA:CPU rejects some products in the other order.
    first = next(axis for axis in to if (axis in of_a) != (axis in of_b))
    if first in of_b:
      of_a, a, of_b, b = of_b, b, of_a, a
    return _einsum_on_cpu(f'{of_a},{of_b}->{to}', x.dtype, a, b)

  return (
    contract((of_gradient, gradient), (of_y, y), to=of_x),
    contract((of_x, x), (of_gradient, gradient), to=of_y),
  )


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def _pull_back_einsum(
  subscripts: str,
  dtype: jnp.dtype,
  factors: tuple[jax.Array, jax.Array],
  gradient: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  return jax.lax.platform_dependent(
    *factors,
    gradient,
    cpu=functools.partial(pull_back_on_cpu, subscripts),
    default=functools.partial(
      _transpose, functools.partial(_einsum, subscripts, dtype)
    ),
  )


def _transpose(multiply, x, y, gradient):
  """Returns the gradients of the factors, without their product."""
  of_x = jax.linear_transpose(lambda x: multiply(x, y), x)
  of_y = jax.linear_transpose(lambda y: multiply(x, y), y)
  return of_x(gradient) + of_y(gradient)


_einsum_bfloat16.defvjp(
  lambda subscripts, dtype, x, y: (
    _einsum_bfloat16(subscripts, dtype, x, y),
    (x, y),
  ),
  _pull_back_einsum,
)


def _multiply_tokens(axes: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Contracts the last `axes` of x with the first of the kernel."""
  last = tuple(range(x.ndim - axes, x.ndim))
  return jax.lax.dot_general(x, kernel, ((last, tuple(range(axes))), ((), ())))


def _multiply_matrices(axes: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Returns the same, from a product of two matrices.

  XLA:CPU copies both operands of a product that sums over examples and tokens,
  as the gradient of a kernel does, to make these axes one; of matrices it
  copies neither.
  """
  width = math.prod(kernel.shape[:axes])
  y = x.reshape(-1, width) @ kernel.reshape(width, -1)
  return y.reshape(*x.shape[:-axes], *kernel.shape[axes:])


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _pull_back_projection(
  axes: int, factors: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
  def through(multiply):
    return functools.partial(_transpose, functools.partial(multiply, axes))

  return jax.lax.platform_dependent(
    *factors,
    gradient,
    cpu=through(_multiply_matrices),
    default=through(_multiply_tokens),
  )


_project = jax.custom_vjp(_multiply_tokens, nondiff_argnums=(0,))
_project.defvjp(
  lambda axes, x, kernel: (_project(axes, x, kernel), (x, kernel)),
  _pull_back_projection,
)
