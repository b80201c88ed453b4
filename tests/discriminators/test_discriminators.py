"""Laws of all discriminators."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from train import sharding
from vq_jax import discriminators
from vq_jax.utils import replicas

SMALL = {
  'patchgan batch': discriminators.PatchGAN(channels=4, layers=2),
  'patchgan group': discriminators.PatchGAN(
    channels=4, layers=1, norm='group', groups=2
  ),
  'patchgan none': discriminators.PatchGAN(channels=4, layers=1, norm='none'),
  'stylegan': discriminators.StyleGAN(channels=2, multipliers=(2, 2)),
  'stylegan stddev': discriminators.StyleGAN(
    channels=2, multipliers=(2, 2), stddev_group=2
  ),
}
LOOKS_AT_THE_BATCH = {'patchgan batch', 'stylegan stddev'}
every = pytest.mark.parametrize('name', SMALL)


def image(batch=16, side=16, seed=0):
  rng = np.random.default_rng(seed)
  return rng.uniform(size=(batch, side, side, 3)).astype(np.float32)


@functools.cache
def params(name):
  variables = jax.jit(SMALL[name].init)(jax.random.key(0), image(2))
  assert set(variables) == {'params'}  # no state
  # Larger than at first, so that no law holds because all logits are nearly 0.
  return jax.tree.map(lambda p: p * 4, variables['params'])


def logits(name, x):
  return jax.jit(SMALL[name].apply)({'params': params(name)}, x)


@every
def test_logits_depend_on_other_images_only_with_minibatch_statistics(name):
  x = image(4)
  alone = np.concatenate([logits(name, x[:2]), logits(name, x[2:])])
  together = logits(name, x)
  others = logits(name, np.concatenate([x[:1], image(3, seed=1)]))[0]
  depends = np.abs(others - together[0]).max() > 1e-3
  assert depends == (name in LOOKS_AT_THE_BATCH)
  if name != 'patchgan batch':  # a group of two is as good as the batch
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
  assert np.std(together) > 1e-3


@every
def test_value_range_is_the_range_of_encoder_and_decoder(name):
  x = image(2)
  low, high = SMALL[name].value_range
  plain = SMALL[name].clone(value_range=(0.0, 1.0))
  want = plain.apply({'params': params(name)}, x * (high - low) + low)
  np.testing.assert_allclose(logits(name, x), want, rtol=1e-3, atol=1e-5)


@every
def test_half_precision_is_used_only_inside(name):
  half = SMALL[name].clone(dtype=jnp.bfloat16)
  got = jax.eval_shape(half.init_with_output, jax.random.key(0), image(2))
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(got))
  inside = jax.make_jaxpr(half.apply)({'params': params(name)}, image(2))
  convolutions = [
    e for e in inside.eqns if e.primitive.name == 'conv_general_dilated'
  ]
  assert convolutions
  assert all(e.outvars[0].aval.dtype == jnp.bfloat16 for e in convolutions)


def pull(discriminator, axis_name=None):
  """(params, x) -> logits, the gradients of a loss, and of all logits."""

  def run(params, x):
    def loss(params):
      return jnp.square(discriminator.apply({'params': params}, x) - 1).mean()

    def total(x):
      y = discriminator.apply({'params': params}, x)
      return y.sum(), y

    gradient = replicas.pmean(jax.grad(loss)(params), axis_name)
    slope, y = jax.grad(total, has_aux=True)(x)
    return y, gradient, slope

  return run


@pytest.mark.parametrize('name', ['patchgan batch', 'stylegan stddev'])
def test_a_mesh_and_replicas_of_eight_equal_one_device(name):
  """Logits that depend on other images; groups lie within a replica."""
  x, plain = image(16), SMALL[name]
  want = jax.jit(pull(plain))(params(name), x)
  bound = sharding.bind_axis(plain, 'batch')
  y, gradient, slope = jax.pmap(
    pull(bound, 'batch'), 'batch', in_axes=(None, 0)
  )(params(name), x.reshape(8, 2, *x.shape[1:]))
  got = (
    y.reshape(want[0].shape),
    jax.tree.map(lambda leaf: leaf[3], gradient),
    slope.reshape(x.shape),
  )
  mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
  split = NamedSharding(mesh, PartitionSpec('data'))
  everywhere = NamedSharding(mesh, PartitionSpec())
  meshed = jax.jit(pull(plain), in_shardings=(everywhere, split))(
    params(name), x
  )
  for found in (got, meshed):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
      found,
      want,
    )
