"""The options of the compiler follow the device."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.utils import compilation


def test_an_unsupported_compiler_option_is_left_out(monkeypatch):
  (device, *_) = jax.devices('cpu')
  compilation._get_cpu_options.cache_clear()
  assert compilation.get_compiler_options(device) == compilation._CPU
  monkeypatch.setattr(compilation, '_CPU', {'xla_cpu_nothing': '1'})
  compilation._get_cpu_options.cache_clear()
  assert compilation.get_compiler_options(device) is None
  compilation._get_cpu_options.cache_clear()


@pytest.mark.parametrize(
  ('platform', 'kind', 'larger'),
  [
    ('tpu', 'TPU v5 lite', True),
    ('tpu', 'TPU v6 lite', True),
    ('tpu', 'TPU v4', False),
    ('gpu', 'NVIDIA H100', False),
  ],
)
def test_tpus_with_much_vector_memory_use_more(platform, kind, larger):
  device = types.SimpleNamespace(platform=platform, device_kind=kind)
  assert bool(compilation.get_compiler_options(device)) == larger


def _double(x, *, times=1):
  return 2 * times * x


def test_a_function_is_compiled_with_the_options_of_its_device(monkeypatch):
  unknown = {'xla_cpu_nothing': '1'}  # the compiler refuses it, if it gets it
  monkeypatch.setattr(compilation, 'get_compiler_options', lambda _: unknown)
  double = compilation.jit(_double, static_argnames='times')
  with pytest.raises(jax.errors.JaxRuntimeError, match='xla_cpu_nothing'):
    double(1.0)
  with pytest.raises(jax.errors.JaxRuntimeError, match='xla_cpu_nothing'):
    double.lower(1.0).compile()
  monkeypatch.undo()
  assert double(1.0, times=3) == 6.0
  assert double.trace(1.0, times=3).lower().compile()(1.0) == 6.0


def test_within_another_program_its_options_count(monkeypatch):
  unknown = {'xla_cpu_nothing': '1'}
  monkeypatch.setattr(compilation, 'get_compiler_options', lambda _: unknown)
  double = compilation.jit(_double)
  one = jnp.ones(())
  assert jax.jit(double)(one) == 2.0
  assert jax.jit(lambda x: x + double(one))(one) == 3.0  # of a constant
  assert jax.grad(jax.jit(double))(one) == 2.0
  np.testing.assert_array_equal(jax.vmap(double)(jnp.ones(3)), [2, 2, 2])
  assert jax.eval_shape(double, one).shape == ()


def test_the_device_is_that_of_the_arguments(monkeypatch):
  seen = []
  monkeypatch.setattr(compilation, 'get_compiler_options', seen.append)
  double = compilation.jit(_double)
  devices = jax.devices()
  on_last = jax.device_put(np.ones(2, np.float32), devices[-1])
  on_third = jax.ShapeDtypeStruct(
    (2,), jnp.float32, sharding=jax.sharding.SingleDeviceSharding(devices[3])
  )
  double(on_last)
  double.lower(on_third)
  double(np.ones(2, np.float32))
  with jax.default_device(devices[2]):
    double(np.ones(2, np.float32))
  assert seen == [devices[-1], devices[3], devices[0], devices[2]]
