"""Attention in one kernel on TPUs: no weights are written to memory.

Written in Pallas. A program of the kernel computes some heads of an example for
a block of queries, with all keys at once, because the sequences of this library
have 50 to 1,025 tokens. So the softmax needs one pass, and the backward pass
computes it again from queries and keys alone.

Arrays have the tokens last, [B, heads, head_dim, N]. Heads of 48 or 64 fill the
lanes of a vector register, 128, only to a part; tokens fill them.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Queries of a program: the logits of a head take 1 MiB of vector memory.
_WHOLE = 512
_BLOCK = 256
# Heads of a program: the matrix units compute one while the vector units
# compute the softmax of another.
_HEADS = 4
_VECTOR_MEMORY = 64 * 2**20
# Weights per cycle: what the compiler schedules for v5e in bfloat16 with 257
# tokens and heads of 48, and the same within 5 % with 1,024 and 64. It does not
# estimate kernels itself, so plans read the product from the program.
_FORWARD_RATE = 165
_BACKWARD_RATE = 84


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """What is fixed when the kernel is compiled.

  Attributes:
    causal: whether a token attends only to itself and to earlier tokens.
    keep_prob: the probability with which dropout keeps a weight.
    interpret: whether JAX interprets the kernel, as tests on a CPU do.
  """

  causal: bool = False
  keep_prob: float = 1.0
  interpret: bool = False


def forward(
  settings: Settings,
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  keep: jax.Array | None,
) -> jax.Array:
  """Returns attention as `attention.attend` does, in one kernel.

  Args:
    settings: what is fixed.
    query: [B, heads, head_dim, N].
    key: [B, heads, head_dim, M].
    value: [B, heads, head_dim, M].
    keep: bool [M, N], the weights that dropout keeps, or None for all.

  Returns:
    [B, heads, head_dim, N].
  """
  grid = _Grid(query, key)
  inputs, specs = _inputs(settings, grid, query, key, value, keep)
  return pl.pallas_call(
    functools.partial(_forward_kernel, settings, grid, keep is not None),
    grid=grid.shape,
    in_specs=specs,
    out_specs=grid.queries(),
    out_shape=jax.ShapeDtypeStruct(query.shape, query.dtype),
    compiler_params=grid.compiler_params(),
    interpret=settings.interpret,
    metadata=grid.estimate(_FORWARD_RATE),
    name='attention',
  )(*inputs)


def backward(
  settings: Settings,
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  keep: jax.Array | None,
  gradient: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns the gradients of query, key and value.

  Args:
    settings: what is fixed.
    query: see `forward`.
    key: see `forward`.
    value: see `forward`.
    keep: see `forward`.
    gradient: that of the result, [B, heads, head_dim, N].
  """
  grid = _Grid(query, key)
  inputs, specs = _inputs(settings, grid, query, key, value, keep)
  total = pltpu.VMEM((grid.heads, grid.head_dim, grid.m), jnp.float32)
  return pl.pallas_call(
    functools.partial(_backward_kernel, settings, grid, keep is not None),
    grid=grid.shape,
    in_specs=[*specs, grid.queries()],
    out_specs=(grid.queries(), grid.keys(), grid.keys()),
    out_shape=tuple(
      jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (query, key, value)
    ),
    scratch_shapes=(total, total),
    compiler_params=grid.compiler_params(),
    interpret=settings.interpret,
    metadata=grid.estimate(_BACKWARD_RATE),
    name='attention_gradient',
  )(*inputs, gradient)


class _Grid:
  """How examples, heads and queries are divided over programs."""

  def __init__(self, query: jax.Array, key: jax.Array):
    batch, heads, self.head_dim, self.n = query.shape
    self.m = key.shape[3]
    self.heads = math.gcd(heads, _HEADS)
    self.block = self.n if self.n <= _WHOLE else _BLOCK
    blocks = pl.cdiv(self.n, self.block)
    self.shape = (batch, heads // self.heads, blocks)

  def queries(self) -> pl.BlockSpec:
    """The block of queries of a program, [1, heads, head_dim, block]."""
    shape = (1, self.heads, self.head_dim, self.block)
    return pl.BlockSpec(shape, lambda b, h, i: (b, h, 0, i))

  def keys(self) -> pl.BlockSpec:
    """All keys of the heads of a program, [1, heads, head_dim, M]."""
    shape = (1, self.heads, self.head_dim, self.m)
    return pl.BlockSpec(shape, lambda b, h, i: (b, h, 0, 0))

  def masks(self) -> pl.BlockSpec:
    """The part of a mask for a block of queries, [M, block]."""
    return pl.BlockSpec((self.m, self.block), lambda b, h, i: (0, i))

  def compiler_params(self) -> pltpu.CompilerParams:
    """The blocks of queries follow one another; all else is independent."""
    return pltpu.CompilerParams(
      dimension_semantics=('parallel', 'parallel', 'arbitrary'),
      vmem_limit_bytes=_VECTOR_MEMORY,
    )

  def estimate(self, rate: int) -> dict[str, str]:
    """The cycles of all programs, at a number of weights per cycle."""
    tile = pl.cdiv(self.m, 8) * 8 * pl.cdiv(self.block, 128) * 128
    weights = math.prod(self.shape) * self.heads * tile
    return {'estimated_cycles': str(weights // rate)}

  def drop_missing(self, x: jax.Array) -> jax.Array:
    """Returns [..., block], with zeros beyond the last query."""
    if self.n % self.block == 0:
      return x
    left = self.n - pl.program_id(2) * self.block
    return jnp.where(
      jax.lax.broadcasted_iota(jnp.int32, x.shape, 1) < left, x, 0
    )


def _inputs(settings, grid, query, key, value, keep):
  """Returns the inputs of a kernel, and how they are divided."""
  inputs = [query, key, value]
  specs = [grid.queries(), grid.keys(), grid.keys()]
  if keep is not None:
    scale = jnp.asarray(settings.keep_prob, value.dtype)
    inputs.append(keep.astype(value.dtype) / scale)
    specs.append(grid.masks())
  return inputs, specs


def _product(a, b, axis_of_a, axis_of_b):
  """Sums over an axis of two matrices, in float32."""
  return jax.lax.dot_general(
    a,
    b,
    (((axis_of_a,), (axis_of_b,)), ((), ())),
    preferred_element_type=jnp.float32,
  )


def _exponentials(settings, grid, query, key):
  """Returns the weights of a head before dropout, but for a factor.

  Returns:
    float32 [M, block], and their sums [1, block].
  """
  logits = _product(key, query, 0, 0)
  if settings.causal:
    position = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 0)
    own = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)
    own += pl.program_id(2) * grid.block
    logits = jnp.where(position <= own, logits, jnp.finfo(logits.dtype).min)
  # The units compute powers of 2, and have the scale for free.
  scale = math.log2(math.e) / math.sqrt(grid.head_dim)
  logits -= jnp.max(logits, axis=0, keepdims=True)
  weights = jnp.exp2(logits * scale)
  return weights, jnp.sum(weights, axis=0, keepdims=True)


def _forward_kernel(settings, grid, drops, query, key, value, *refs):
  """Computes the outputs of some heads for a block of queries."""
  *mask, out = refs
  for h in range(grid.heads):
    weights, total = _exponentials(settings, grid, query[0, h], key[0, h])
    weights = weights.astype(value.dtype)
    if drops:
      weights *= mask[0][...]
    out[0, h] = (_product(value[0, h], weights, 1, 0) / total).astype(out.dtype)


def _backward_kernel(settings, grid, drops, query, key, value, *refs):
  """Computes gradients of some heads from a block of queries.

  Those of keys and values are summed over the blocks.
  """
  mask = refs[:drops]
  scale = 1 / math.sqrt(grid.head_dim)
  gradient, d_query, d_key, d_value, key_total, value_total = refs[drops:]

  @pl.when(pl.program_id(2) == 0)
  def _():
    key_total[...] = jnp.zeros_like(key_total)
    value_total[...] = jnp.zeros_like(value_total)

  if drops:
    masks = grid.drop_missing(mask[0][...])
  for h in range(grid.heads):
    q, k = grid.drop_missing(query[0, h]), key[0, h]
    dy = grid.drop_missing(gradient[0, h])
    weights, total = _exponentials(settings, grid, q, k)
    weights *= 1 / total
    kept = weights.astype(value.dtype)
    d_weights = _product(value[0, h], dy, 0, 0)
    if drops:
      kept *= masks
      d_weights *= masks
    value_total[h] += _product(dy, kept, 1, 1)
    # The gradient of the softmax, without the scale.
    mean = jnp.sum(weights * d_weights, axis=0, keepdims=True)
    d_logits = (weights * (d_weights - mean)).astype(q.dtype)
    d_query[0, h] = (_product(k, d_logits, 1, 0) * scale).astype(d_query.dtype)
    key_total[h] += _product(q, d_logits, 1, 1)

  @pl.when(pl.program_id(2) == grid.shape[2] - 1)
  def _():
    d_key[0] = (key_total[...] * scale).astype(d_key.dtype)
    d_value[0] = value_total[...].astype(d_value.dtype)
