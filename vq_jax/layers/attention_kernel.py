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
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import PartitionSpec

from vq_jax.utils import replicas

# Queries of a program: the logits of a head take 1 MiB of vector memory.
_WHOLE = 512
_BLOCK = 256
# The most keys, for which the backward pass of a program fits there.
_MOST_KEYS = 1152
# Heads of a program: the matrix units compute one while the vector units
# compute the softmax of another.
_HEADS = 4
_VECTOR_MEMORY = 64 * 2**20


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


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def attend(
  settings: Settings,
  elsewhere: Callable[..., jax.Array],
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  keep: jax.Array | None,
) -> jax.Array:
  """Computes attention by the kernel where the program runs on a TPU.

  `is_available` must hold.

  Args:
    settings: what is fixed.
    elsewhere: computes the same from the other four arguments.
    query: [B, N, heads, head_dim].
    key: [B, M, heads, head_dim].
    value: [B, M, heads, head_dim].
    keep: bool [1, 1, N, M], the weights that dropout keeps, or None for all.

  Returns:
    [B, N, heads, head_dim].
  """

  def on_tpu(*arrays):
    return _last_to_second(_on_mesh(forward, settings, *_arrange(*arrays)))

  return jax.lax.platform_dependent(
    query, key, value, keep, tpu=on_tpu, default=elsewhere
  )


def _attend_forward(settings, elsewhere, query, key, value, keep):
  y = attend(settings, elsewhere, query, key, value, keep)
  return y, (query, key, value, keep)


def _attend_backward(settings, elsewhere, arguments, gradient):
  def on_tpu(arguments, gradient):
    arranged = _arrange(*arguments), _second_to_last(gradient)
    found = _on_mesh(backward, settings, *arranged[0], arranged[1])
    return tuple(map(_last_to_second, found))

  def on_others(arguments, gradient):
    *differentiated, keep = arguments
    _, pull_back = jax.vjp(lambda *x: elsewhere(*x, keep), *differentiated)
    return pull_back(gradient)

  found = jax.lax.platform_dependent(
    arguments, gradient, tpu=on_tpu, default=on_others
  )
  return *found, None


attend.defvjp(_attend_forward, _attend_backward)


def _second_to_last(x: jax.Array) -> jax.Array:
  """Maps [B, N, heads, head_dim] to [B, heads, head_dim, N]."""
  return jnp.moveaxis(x, 1, 3)


def _last_to_second(x: jax.Array) -> jax.Array:
  """Maps [B, heads, head_dim, N] to [B, N, heads, head_dim]."""
  return jnp.moveaxis(x, 3, 1)


def _arrange(query, key, value, keep):
  """Returns the arrays as `forward` expects them."""
  mask = None if keep is None else keep[0, 0].T
  return *map(_second_to_last, (query, key, value)), mask


def is_available(
  query: jax.Array, key: jax.Array, keep: jax.Array | None
) -> bool:
  """Returns whether the kernel can compute attention of these shapes here.

  The compiler cannot split a kernel over devices. So there must be a mesh of
  TPUs that tells how arrays are split, see `replicas.BATCH_SPEC`, or a single
  TPU.

  Args:
    query: [B, N, heads, head_dim].
    key: [B, M, heads, head_dim].
    keep: [..., N, M], the mask of dropout; the kernel needs one mask for all
      examples and heads.
  """
  if keep is not None and math.prod(keep.shape[:-2]) > 1:
    return False
  # Whole tiles of bfloat16.
  if query.shape[3] % 16 or key.shape[1] > _MOST_KEYS:
    return False
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or not mesh.auto_axes:
    return jax.device_count() == 1 and jax.default_backend() == 'tpu'
  device = mesh.abstract_device
  if device is None or device.platform != 'tpu':
    return False
  examples, heads = _split(mesh)
  divides = query.shape[0] % _size(mesh, examples) == 0
  divides &= query.shape[2] % _size(mesh, heads) == 0
  return divides and {*examples, *heads} == {*mesh.auto_axes}


def _split(mesh) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Returns the axes of a mesh that split examples, and those of heads."""
  examples = (name for name in replicas.BATCH_SPEC[0] if name in mesh.shape)
  heads = (name for name in ('tensor',) if name in mesh.shape)
  return tuple(examples), tuple(heads)


def _size(mesh, names: tuple[str, ...]) -> int:
  return math.prod(mesh.shape[name] for name in names)


def _on_mesh(kernel, settings, *arrays):
  """Computes on each device the part of its examples and heads."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or not mesh.auto_axes:
    return kernel(settings, *arrays)
  parts = PartitionSpec(*_split(mesh))
  return jax.shard_map(
    functools.partial(kernel, settings),
    in_specs=tuple(
      None if x is None else parts if x.ndim == 4 else PartitionSpec()
      for x in arrays
    ),
    out_specs=parts,
    check_vma=False,
  )(*arrays)


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
  total = pltpu.VMEM(grid.keys().block_shape[1:], jnp.float32)
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
