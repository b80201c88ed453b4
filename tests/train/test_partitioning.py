"""How arrays are split over the axes of a mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from train import partitioning
from train import sharding
from vq_jax.config import schema

SHAPE = {'data': 1, 'fsdp': 4, 'tensor': 2}


@pytest.mark.parametrize(
  ('name', 'shape', 'spec'),
  [
    # The blocks of a stack lie on a leading axis.
    ('b/attention/query/kernel', (3, 64, 8, 32), P(None, 'fsdp', 'tensor')),
    ('b/attention/query/bias', (3, 8, 32), P(None, 'tensor')),
    ('b/attention/out/kernel', (8, 32, 64), P('tensor', None, 'fsdp')),
    ('b/mlp_in/kernel', (64, 256), P('fsdp', 'tensor')),
    ('b/mlp_out/kernel', (256, 64), P('tensor', 'fsdp')),
    ('0/mu/decoder/conv_in/kernel', (3, 3, 64, 128), P(None, None, 'fsdp')),
    # The input of 3 channels does not divide.
    ('encoder/conv_in/kernel', (3, 3, 3, 512), P(None, None, None, 'fsdp')),
    ('quantizer/codebook', (1024, 32), P('fsdp')),
    ('token/embedding', (2025, 768), P(None, 'fsdp')),
    ('norm/scale', (768,), P()),
    ('step', (), P()),
    ('unknown/name', (5, 4096), P(None, 'fsdp')),
  ],
)
def test_an_array_is_split_by_its_name(name, shape, spec):
  found = partitioning.get_spec(name, shape, SHAPE)
  assert tuple(found) == tuple(spec) + (None,) * (len(shape) - len(spec))


def test_nothing_is_split_over_axes_of_size_one():
  one = {'data': 8, 'fsdp': 1, 'tensor': 1}
  spec = partitioning.get_spec('mlp_in/kernel', (64, 256), one)
  assert tuple(spec) == (None, None)


def test_heads_that_do_not_divide_are_named():
  with pytest.raises(
    schema.ConfigError,
    match="tensor=2 must divide the axis 'heads' of attention/query/kernel, "
    'which is 3 long',
  ):
    partitioning.get_spec('attention/query/kernel', (64, 3, 32), SHAPE)


def test_every_row_of_the_table_uses_an_axis_of_the_mesh_once(monkeypatch):
  for pattern, axes in partitioning.LOGICAL_AXES:
    found = [partitioning.MESH_AXES.get(axis) for axis in axes]
    found = [axis for axis in found if axis]
    assert len(found) == len(set(found)), pattern
  changed = {**partitioning.MESH_AXES, 'out': 'fsdp'}
  monkeypatch.setattr(partitioning, 'MESH_AXES', changed)
  with pytest.raises(schema.ConfigError, match="'in' and 'out' of x/kernel"):
    partitioning.get_spec('x/kernel', (64, 256), SHAPE)


def test_a_state_is_split_from_its_birth():
  """No program that makes it, and none of its arrays, is whole on a device."""
  runner = sharding.make_runner(schema.ParallelConfig(data=2, fsdp=4))

  def make(key):
    w = jax.random.normal(key, (256, 512))
    return {'a': {'kernel': w}, 'mu': {'a': {'kernel': jnp.zeros_like(w)}}}

  state = runner.init(make, jax.random.key(0))
  whole = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
  for device in jax.devices():
    held = sum(
      shard.data.nbytes
      for leaf in jax.tree.leaves(state)
      for shard in leaf.addressable_shards
      if shard.device == device
    )
    assert held == whole / 4
  shardings = runner.get_shardings(state)
  assert partitioning.bytes_per_device(state, shardings) == whole / 4
  want = jax.jit(make)(jax.random.key(0))
  np.testing.assert_array_equal(state['a']['kernel'], want['a']['kernel'])


def test_what_is_put_on_the_devices_is_a_copy():
  """A step deletes the state it is given, but not what that was made from."""
  runner = sharding.make_runner(schema.ParallelConfig(data=1))
  original = {'a': jnp.arange(4.0)}
  step = runner.compile(lambda state, batch: (state, {}), original)
  batch = runner.transfer({'image': np.zeros(8, np.uint8)})
  step(runner.put(original), batch)
  np.testing.assert_array_equal(original['a'], np.arange(4.0))


@pytest.mark.parametrize('axis', ['fsdp', 'tensor'])
def test_pmap_refuses_to_split_a_state(axis):
  with pytest.raises(schema.ConfigError, match=rf'{axis}=2.*mode=.jit'):
    schema.ParallelConfig(mode='pmap', **{axis: 2})
