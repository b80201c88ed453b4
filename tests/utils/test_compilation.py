"""The options of the compiler follow the device."""

import types

import jax
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
