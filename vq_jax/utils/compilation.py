"""What the compiler is told, by the device that it compiles for."""

import functools

import jax
import jax.numpy as jnp

# Since jaxlib 0.10, XLA:CPU computes convolutions with a library that takes 1.3
# to 2 times as long as XLA's own code. This excludes convolutions from it.
_CPU = {
  'xla_cpu_experimental_ynn_fusion_type': (
    'LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE'
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
