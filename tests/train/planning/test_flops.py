"""Operations are counted before anything is compiled."""

import functools

import jax
import jax.numpy as jnp
import pytest

from train.planning import flops
from vq_jax.layers import attention_kernel


def count(function, *shapes, platform=None) -> int:
  arguments = [jnp.zeros(shape) for shape in shapes]
  jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
  return flops.count(jaxpr, platform)


def test_a_loop_counts_for_each_trip():
  def loop(x):
    return jax.lax.scan(lambda x, _: (x @ x, None), x, length=5)[0]

  assert count(loop, (4, 4)) == 5 * 2 * 4**3


def test_the_dearest_branch_counts():
  def choose(x):
    return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x @ x @ x, x)

  assert count(choose, (4, 4)) == count(choose, (4, 4), platform='cpu')
  assert count(choose, (4, 4)) == 2 * 2 * 4**3


@pytest.mark.parametrize(
  ('platform', 'products'), [('cpu', 1), ('tpu', 2), ('gpu', 3), (None, 4)]
)
def test_the_branch_of_a_platform_counts(platform, products):
  def by_platform(x):
    return jax.lax.platform_dependent(
      x,
      cpu=lambda x: x @ x,
      tpu=lambda x: x @ x @ x,
      cuda=lambda x: x @ x @ x @ x,
      default=lambda x: x @ x @ x @ x @ x,
    )

  expected = products * 2 * 4**3
  assert count(by_platform, (4, 4), platform=platform) == expected


def test_what_a_stride_leaves_out_is_not_counted():
  def convolve(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), 'SAME')

  expected = 2 * (4 * 4 * 5) * 3 * 3 * 2
  assert count(convolve, (1, 2, 8, 8), (5, 2, 3, 3)) == expected


def test_a_kernel_counts_for_each_program_on_each_device():
  query = jnp.zeros((4, 2, 16, 8))
  settings = attention_kernel.Settings()
  kernel = functools.partial(attention_kernel.forward, settings)

  def attend(x):
    return kernel(x, x, x, None)

  products = 2 * 2 * 4 * 2 * 16 * 8 * 8
  assert count(attend, query.shape) == products
  mesh = jax.make_mesh((2,), ('data',), (jax.sharding.AxisType.Auto,))
  split = jax.shard_map(
    attend,
    mesh=mesh,
    in_specs=jax.sharding.PartitionSpec('data'),
    out_specs=jax.sharding.PartitionSpec('data'),
    check_vma=False,
  )
  assert count(split, query.shape) == products
