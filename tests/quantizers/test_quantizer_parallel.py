"""One device, a mesh of eight and eight replicas compute the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from tests.quantizers import cases
from tests.quantizers.cases import D

STEPS = 3
CASES = [
  *(pytest.param(f, id=name) for name, f in cases.FACTORIES.items()),
  pytest.param(
    functools.partial(
      cases.FACTORIES['ema_vq'],
      decay=0.5,
      kmeans_iterations=2,
      revive_below=0.8,
    ),
    id='ema_vq with all options',
  ),
]


def batches():
  return [cases.latents(16, 3, seed=i) for i in range(STEPS)]


def trainer(quantizer):
  """(variables, z, rng) -> (codes, indices, loss, stats), variables."""

  def train(variables, z, rng):
    quantized, updated = quantizer.apply(
      variables, z, train=True, mutable=['codebook'], rngs={'code': rng}
    )
    seen = quantized.codes, quantized.indices, quantized.loss, quantized.stats
    return seen, {**variables, **updated}

  return train


def follow(train, variables, prepare=lambda z: z):
  """Trains; returns what was seen at each step, and the last variables."""
  seen = []
  for i, z in enumerate(batches()):
    out, variables = train(variables, prepare(z), jax.random.key(i))
    seen.append(out)
  return seen, variables


def copy_of(state, replica):
  return jax.tree.map(lambda x: x[replica], state)


@functools.cache
def on_one_device(make):
  quantizer = make()
  return follow(jax.jit(trainer(quantizer)), cases.init(quantizer))


@pytest.mark.parametrize('make', CASES)
def test_a_mesh_of_eight_devices_equals_one(make):
  mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
  split = NamedSharding(mesh, PartitionSpec('data'))
  everywhere = NamedSharding(mesh, PartitionSpec())
  quantizer = make()
  train = jax.jit(
    trainer(quantizer), in_shardings=(everywhere, split, everywhere)
  )
  got = follow(
    train,
    jax.device_put(cases.init(quantizer), everywhere),
    lambda z: jax.device_put(z, split),
  )
  cases.assert_close(got, on_one_device(make))


@pytest.mark.parametrize('make', CASES)
def test_eight_replicas_equal_one_device(make):
  quantizer = make(axis_name='batch')
  train = jax.pmap(trainer(quantizer), 'batch', in_axes=(0, 0, None))
  variables = jax.tree.map(
    lambda x: jnp.broadcast_to(jnp.expand_dims(x, 0), (8, *x.shape)),
    cases.init(make()),
  )
  seen, state = follow(train, variables, lambda z: z.reshape(8, 2, 3, D))
  want_seen, want_state = on_one_device(make)
  for (codes, indices, loss, stats), want in zip(seen, want_seen, strict=True):
    joined = (
      codes.reshape(16, 3, D),
      indices.reshape(16, 3),
      loss.mean(),
      jax.tree.map(jnp.mean, stats),
    )
    cases.assert_close(joined, want)
  for replica in range(8):
    own = copy_of(state, replica)
    cases.assert_same(own, copy_of(state, 0))
    cases.assert_close(own, want_state)


def test_the_options_are_tried():
  """The case with all options revives codes and moves the codebook."""
  seen, _ = on_one_device(CASES[-1].values[0])
  assert sum(float(stats['revived']) for *_, stats in seen) > 0
  assert np.isfinite([loss for _, _, loss, _ in seen]).all()
