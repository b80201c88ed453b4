"""Layers of one shape are traced once, and are no calls in the program."""

import jax
import jax.numpy as jnp
import pytest

from vq_jax.layers import normalization
from vq_jax.layers import products
from vq_jax.layers import resnet


def norm(x):
  c = x.shape[-1]
  return normalization.group_norm_swish(x, jnp.ones(c), jnp.zeros(c), 2, 1e-6)


def upsample(x):
  kernel = jnp.ones((3, 3, x.shape[-1], x.shape[-1]))
  layout = jax.lax.conv_dimension_numbers(
    x.shape, kernel.shape, ('NHWC', 'HWIO', 'NHWC')
  )
  doubled = resnet._convolve_doubled(
    x, kernel, dimension_numbers=layout, precision=None
  )
  return doubled[:, ::2, ::2]


def project(x):
  return products.project(x, jnp.ones((x.shape[-1],) * 2, x.dtype))


def project_bfloat16(x):
  return project(x.astype(jnp.bfloat16))


@pytest.mark.parametrize(
  ('layer', 'module', 'part'),
  [
    (norm, normalization, '_affine'),
    (upsample, resnet, '_convolve_by_parts'),
    (project, products, '_transpose'),
    (project_bfloat16, products, '_einsum_on_cpu'),
  ],
)
def test_layers_of_one_shape_are_traced_once(layer, module, part, monkeypatch):
  calls = []
  original = getattr(module, part)

  def count(*arguments):
    calls.append(part)
    return original(*arguments)

  monkeypatch.setattr(module, part, count)

  def trace(layers):
    def loss(x):
      for _ in range(layers):
        x = layer(x)
      return x.astype(jnp.float32).sum()

    jax.clear_caches()
    calls.clear()
    program = jax.make_jaxpr(jax.grad(loss))(jnp.ones((2, 4, 4, 4)))
    called = {str(eqn.params.get('name')) for eqn in program.eqns}
    assert not any(hasattr(module, name) for name in called), called
    return len(calls)

  once = trace(1)
  assert 0 < once == trace(3)
