"""Laws of the search for the nearest code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from vq_jax.quantizers import nearest as search

DISTANCES, PRODUCTS = search.squared_distances, search._negative_products
D = 3


def brute(score, z, codes):
  """The lowest index of the smallest score, by a matrix of all."""
  return np.asarray(score(z, codes)).argmin(axis=-1)


def by_blocks(score=DISTANCES, elements=2**13):
  """The search by blocks of 1,024 vectors and elements / 1,024 codes."""
  return jax.jit(functools.partial(search._by_blocks, score, elements))


def whole_numbers(*shape, seed=0):
  """With these all arithmetic is exact, and many distances are equal."""
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.integers(-2, 3, (*shape, D)), jnp.float32)


def normal(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=(*shape, D)), jnp.float32)


@pytest.mark.parametrize('score', [DISTANCES, PRODUCTS])
@pytest.mark.parametrize(
  ('shape', 'codes'),
  [
    ((2500,), 37),  # no multiples of a block; ties within and between blocks
    ((2048,), 64),  # multiples
    ((1,), 9000),  # one vector, many codes
    ((2049,), 9),  # the last block has one new vector and one new code
    ((10_000,), 1),
    ((3, 7, 129), 40),
    ((64, 43), 40),
    ((), 9000),
    ((0,), 9000),
    ((5, 0), 9000),
  ],
)
def test_blocks_find_the_lowest_of_the_nearest(score, shape, codes):
  z, codebook = whole_numbers(*shape), whole_numbers(codes, seed=1)
  want = brute(score, z, codebook)
  for find in [by_blocks(score), functools.partial(search._at_once, score)]:
    got = find(z, codebook)
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, want)


def test_the_first_of_equal_codes_is_chosen_wherever_the_other_is():
  codebook = normal(40)
  z = jnp.tile(codebook, (60, 1))
  for copies in [(codebook, codebook), (codebook[::-1], codebook[::-1])]:
    table = jnp.concatenate([codebook, *copies])
    got = by_blocks()(z, table)
    np.testing.assert_array_equal(got, np.tile(np.arange(40), 60))


def test_rounding_alone_may_change_the_choice():
  z, codebook = normal(3000), normal(50, seed=1)
  distances = np.square(
    np.asarray(z, np.float64)[:, None] - np.asarray(codebook, np.float64)
  ).sum(axis=-1)
  got = np.asarray(by_blocks()(z, codebook))
  chosen = np.take_along_axis(distances, got[:, None], axis=1)[:, 0]
  assert (chosen - distances.min(axis=1)).max() < 1e-5
  np.testing.assert_array_equal(got, brute(DISTANCES, z, codebook))


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_numbers_that_are_not_finite_count_as_in_argmin(bad):
  vectors, codes = normal(2500), normal(40, seed=1)
  for z, codebook in [
    (vectors.at[1500, 1].set(bad), codes),
    (vectors, codes.at[30].set(bad)),
    (vectors, codes.at[13, 2].set(bad).at[30].set(bad)),
    (vectors, jnp.full_like(codes, bad)),
  ]:
    want = jnp.argmin(search.squared_distances(z, codebook), axis=-1)
    np.testing.assert_array_equal(by_blocks()(z, codebook), want)


def test_half_precision_is_searched_in_float32():
  z = normal(2500).astype(jnp.bfloat16)
  codebook = normal(40, seed=1).astype(jnp.bfloat16)
  want = brute(DISTANCES, z.astype(jnp.float32), codebook.astype(jnp.float32))
  np.testing.assert_array_equal(by_blocks()(z, codebook), want)


def test_the_public_functions_at_once_and_by_blocks():
  """2^20 distances are the border; no gradient passes."""
  codebook = whole_numbers(600, seed=1)
  for shape in [(5, 7), (3, 1000)]:
    z = whole_numbers(*shape)
    want = brute(DISTANCES, z, codebook)
    np.testing.assert_array_equal(search.nearest(z, codebook), want)
    got, back = jax.vjp(
      lambda z: search.nearest(z, codebook).astype(jnp.float32), z
    )
    np.testing.assert_array_equal(got, want)
    assert not back(jnp.ones(shape))[0].any()
  similar = search.most_similar(z, codebook)
  np.testing.assert_array_equal(similar, brute(PRODUCTS, z, codebook))


def test_under_vmap():
  z, codebooks = whole_numbers(2, 1500), whole_numbers(2, 40, seed=1)
  got = jax.jit(jax.vmap(by_blocks()))(z, codebooks)
  for i in range(2):
    np.testing.assert_array_equal(got[i], brute(DISTANCES, z[i], codebooks[i]))
  got = jax.vmap(by_blocks(), in_axes=(0, None))(z, codebooks[1])
  np.testing.assert_array_equal(got, brute(DISTANCES, z, codebooks[1]))


@pytest.mark.parametrize('shape', [(16, 300), (8, 30, 20), (8000,)])
def test_over_a_mesh_vectors_stay_where_they_are(shape):
  """Whether the mesh is known while the function is traced or not."""
  mesh = jax.make_mesh(
    (4, 2), ('data', 'fsdp'), axis_types=(AxisType.Auto,) * 2
  )
  split = NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))
  everywhere = NamedSharding(mesh, PartitionSpec())
  z, codebook = whole_numbers(*shape), whole_numbers(300, seed=1)
  find = by_blocks()

  def find_on_mesh(z, codebook):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return find(z, codebook)

  for function in (find, find_on_mesh):
    compiled = jax.jit(
      function, in_shardings=(split, everywhere), out_shardings=split
    )
    compiled = compiled.lower(z, codebook).compile()
    for exchange in ['all-gather', 'all-to-all', 'permute', 'all-reduce']:
      assert exchange not in compiled.as_text()
    got = compiled(
      jax.device_put(z, split), jax.device_put(codebook, everywhere)
    )
    np.testing.assert_array_equal(got, brute(DISTANCES, z, codebook))


def test_within_replicas():
  z, codebook = whole_numbers(8, 1500), whole_numbers(40, seed=1)
  want = brute(DISTANCES, z, codebook)
  found = jax.pmap(by_blocks(), in_axes=(0, None))(z, codebook)
  np.testing.assert_array_equal(found, want)
  mesh = jax.make_mesh((8,), ('x',), axis_types=(AxisType.Auto,))
  split = PartitionSpec('x')
  found = jax.jit(
    jax.shard_map(
      by_blocks(),
      mesh=mesh,
      in_specs=(split, PartitionSpec()),
      out_specs=split,
    )
  )(z, codebook)
  np.testing.assert_array_equal(found, want)


def test_memory_is_that_of_the_vectors():
  """A matrix of all distances would have 8 GiB."""
  z = jax.ShapeDtypeStruct((262_144, 32), jnp.float32)
  codebook = jax.ShapeDtypeStruct((8192, 32), jnp.float32)
  compiled = jax.jit(search.nearest).lower(z, codebook).compile()
  memory = compiled.memory_analysis()
  given = memory.argument_size_in_bytes + memory.output_size_in_bytes
  assert memory.temp_size_in_bytes < given / 2
