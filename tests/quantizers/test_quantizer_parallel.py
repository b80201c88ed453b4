"""One device, a mesh of eight and eight replicas compute the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from tests.quantizers import cases
from tests.quantizers.cases import D
from train import sharding
from vq_jax import quantizers
from vq_jax.utils import replicas

STEPS = 3


def batches():
  return [cases.latents(16, 3, seed=i) for i in range(STEPS)]


def trainer(quantizer, axis_name=None):
  """(variables, z, rng) -> (quantized, gradient on z), variables.

  Both state and parameters move, the latter by gradient descent on the loss
  and on some function of the output.
  """

  def train(variables, z, rng):
    def objective(params, z):
      state = {k: v for k, v in variables.items() if k != 'params'}
      quantized, updated = quantizer.apply(
        {'params': params, **state},
        z,
        train=True,
        mutable=['codebook'],
        rngs={'code': rng},
      )
      output = jnp.sum(jnp.square(quantized.quantized - 1)) / z.size
      return quantized.loss + output, (quantized, updated)

    gradients, (quantized, updated) = jax.grad(
      objective, argnums=(0, 1), has_aux=True
    )(variables.get('params', {}), z)
    step = replicas.pmean(gradients[0], axis_name)
    params = jax.tree.map(lambda p, g: p - g, variables.get('params', {}), step)
    params, state = quantizers.apply_replacements(
      params, updated.get('codebook', {})
    )
    after = {'params': params, 'codebook': state}
    return (quantized, gradients[1]), {name: after[name] for name in variables}

  return train


def follow(train, variables, prepare=lambda z: z):
  """Trains; returns what was seen at each step, and the last variables."""
  seen = []
  for i, z in enumerate(batches()):
    out, variables = train(variables, prepare(z), jax.random.key(i))
    seen.append(out)
  return seen, variables


def get_copy(state, replica):
  return jax.tree.map(lambda x: x[replica], state)


@functools.cache
def on_one_device(quantizer):
  return follow(jax.jit(trainer(quantizer)), cases.init(quantizer))


@cases.every
def test_a_mesh_of_eight_devices_equals_one(case):
  mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
  split = NamedSharding(mesh, PartitionSpec('data'))
  everywhere = NamedSharding(mesh, PartitionSpec())
  quantizer = case.make()
  train = jax.jit(
    trainer(quantizer), in_shardings=(everywhere, split, everywhere)
  )
  got = follow(
    train,
    jax.device_put(cases.init(quantizer), everywhere),
    lambda z: jax.device_put(z, split),
  )
  cases.assert_close(got, on_one_device(quantizer))


@cases.every
def test_eight_replicas_equal_one_device(case):
  plain = case.make()
  quantizer = sharding.bind_axis(plain, 'batch')
  train = jax.pmap(trainer(quantizer, 'batch'), 'batch', in_axes=(0, 0, None))
  variables = jax.tree.map(
    lambda x: jnp.broadcast_to(jnp.expand_dims(x, 0), (8, *x.shape)),
    cases.init(plain),
  )
  seen, state = follow(train, variables, lambda z: z.reshape(8, 2, 3, D))
  want_seen, want_state = on_one_device(plain)
  for (got, gradient), (want, want_gradient) in zip(
    seen, want_seen, strict=True
  ):
    joined = got.replace(
      quantized=got.quantized.reshape(16, 3, D),
      indices=got.indices.reshape(want.indices.shape),
      loss=got.loss.mean(),
      stats=jax.tree.map(jnp.mean, got.stats),
    )
    cases.assert_close(joined, want)
    # A replica's mean is over an eighth of the elements.
    cases.assert_close(gradient.reshape(16, 3, D) / 8, want_gradient)
  for replica in range(8):
    own = get_copy(state, replica)
    cases.assert_same(own, get_copy(state, 0))
    cases.assert_close(own, want_state)


def test_the_options_are_tried():
  """Codes are revived, levels dropped, and all losses finite."""
  for name, case in cases.CASES.items():
    seen, _ = on_one_device(case.make())
    assert np.isfinite([q.loss for q, _ in seen]).all()
    if 'all options' in name:
      assert sum(float(q.stats['revived']) for q, _ in seen) > 0
    if 'level_dropout' in getattr(case.make, 'keywords', {}) or (
      getattr(case.make(), 'level_dropout', 0) > 0
    ):
      assert min(int(q.indices.min()) for q, _ in seen) == -1
