"""Compiler options for the device that runs a program."""

import functools
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import Generic
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import stages

R = TypeVar('R')

# Since jaxlib 0.10, XLA:CPU computes convolutions with a library that takes 1.3
# to 2 times as long as XLA's own code. These options exclude convolutions from
# it. Products that are not fused with other operations stay with the library:
# XLA alone does not multiply in bfloat16, and samples from transformers up to
# 14 % slower.
_CPU = {
  'xla_cpu_experimental_ynn_fusion_type': (
    'LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,'
    'LIBRARY_FUSION_TYPE_REDUCE'
  )
}

# A v5e and a v6e have 128 MiB of vector memory, of which the compiler gives one
# operation 16. With 32, convolutions read their inputs in larger blocks: by its
# estimates, the decoder of MaskGIT's tokenizer takes 27.0 instead of 29.3 M
# cycles on a v5e, and 18.7 instead of 20.8 M on a v6e.
_TPU = {'xla_tpu_scoped_vmem_limit_kib': '32768'}
_TPU_KINDS = ('TPU v5 lite', 'TPU v6 lite')


def get_compiler_options(device: jax.Device) -> dict[str, str] | None:
  """Returns the compiler options of large programs, as far as they exist.

  Args:
    device: one of those that run the program.
  """
  if device.platform == 'cpu':
    return _get_cpu_options()
  return _TPU if device.device_kind in _TPU_KINDS else None


@functools.cache
def _get_cpu_options() -> dict[str, str] | None:
  """Returns the options of CPUs, or None if this XLA does not know them."""
  try:
    jax.jit(jnp.negative, compiler_options=_CPU).lower(0.0).compile()
  except jax.errors.JaxRuntimeError:
    return None
  return _CPU


class Compiled(Generic[R]):
  """A jitted function with the compiler options of its arguments' device.

  `jax.jit` takes compiler options before it knows on which device the arguments
  are, so this class jits the function once for each set of options. Inside
  another jitted function or transformation it adds no options of its own.
  """

  def __init__(self, function: Callable[..., R], options: Mapping[str, Any]):
    """Takes a function and the options of `jax.jit`."""
    functools.update_wrapper(self, function)
    self._function = function
    self._options = options
    self._jitted: dict[tuple[tuple[str, str], ...], Any] = {}

  def __call__(self, *args: Any, **kwargs: Any) -> R:
    """Calls the function."""
    return self._choose(args, kwargs)(*args, **kwargs)

  def lower(self, *args: Any, **kwargs: Any) -> stages.Lowered:
    """Lowers the function; see `jax.stages.Wrapped`."""
    return self._choose(args, kwargs).lower(*args, **kwargs)

  def trace(self, *args: Any, **kwargs: Any) -> stages.Traced:
    """Traces the function; see `jax.stages.Wrapped`."""
    return self._choose(args, kwargs).trace(*args, **kwargs)

  def clear_cache(self) -> None:
    """Forgets the compiled programs, as `jax.jit` does."""
    for jitted in self._jitted.values():
      jitted.clear_cache()

  def _choose(self, args: tuple, kwargs: Mapping[str, Any]) -> stages.Wrapped:
    """Returns the jitted function whose options fit the arguments."""
    device = _find_device((args, kwargs))
    chosen = get_compiler_options(device) if device else None
    key = tuple((chosen or {}).items())
    if key not in self._jitted:
      self._jitted[key] = jax.jit(
        self._function, compiler_options=chosen, **self._options
      )
    return self._jitted[key]

  def _cache_size(self) -> int:
    """Returns the number of compiled programs, as `jax.jit` does."""
    return sum(jitted._cache_size() for jitted in self._jitted.values())


def jit(function: Callable[..., R], **options: Any) -> Compiled[R]:
  """Jits a function with the compiler options of its arguments' device.

  See `get_compiler_options`.

  Args:
    function: a large program, such as a decoder or a sampler.
    **options: those of `jax.jit`, such as `static_argnames`.
  """
  return Compiled(function, options)


def _find_device(tree: Any) -> jax.Device | None:
  """Returns a device that will run a function of these arguments.

  Args:
    tree: arrays, shapes, or anything else.

  Returns:
    a device, or None within another transformation.
  """
  default = jnp.zeros(())
  leaves = [default, *jax.tree.leaves(tree)]
  if any(isinstance(x, jax.core.Tracer) for x in leaves):
    return None
  for x in leaves:
    is_array = isinstance(x, jax.Array) and x.committed
    is_shape = isinstance(x, jax.ShapeDtypeStruct) and x.sharding is not None
    if is_array or is_shape:
      return next(iter(x.sharding.device_set))
  return default.device
