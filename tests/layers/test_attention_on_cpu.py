"""Attention in parts on CPUs gives the numbers of all at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec

from vq_jax.layers import attention
from vq_jax.layers import attention_on_cpu
from vq_jax.layers import attention_on_mesh

# Examples, queries, keys, heads, whether it is causal, and weights in a part.
CASES = {
  'one part': (2, 5, 5, 3, False, 10**6),
  'rows of several examples': (3, 5, 5, 2, False, 3 * 5 * 5),
  'rows of one example': (2, 7, 7, 4, False, 3 * 7 * 7),
  'a row that is too large': (2, 7, 7, 3, False, 10),
  'a prime number of rows': (1, 7, 7, 7, False, 6 * 7 * 7),
  'few queries': (2, 1, 9, 2, False, 9),
  'causal': (2, 9, 9, 2, True, 100),
  'causal, in four groups': (2, 258, 258, 2, True, 10**5),
}


def make_arrays(b, n, m, heads, width=4):
  rng = np.random.default_rng(0)
  query = rng.normal(size=(b, n, heads, width))
  key, value = rng.normal(size=(2, b, m, heads, width))
  return tuple(3 * x.astype(np.float32) for x in (query, key, value))


def plain(query, key, value, causal=False):
  logits = np.einsum('bnhd,bmhd->bhnm', query, key) / query.shape[-1] ** 0.5
  if causal:
    logits = np.where(np.tri(*logits.shape[2:], dtype=bool), logits, -np.inf)
  weights = np.exp(logits - logits.max(-1, keepdims=True))
  weights /= weights.sum(-1, keepdims=True)
  return np.einsum('bhnm,bmhd->bnhd', weights, value)


def zeros(query, key, value):
  """What other devices compute, and training."""
  del key, value
  return jnp.zeros_like(query)


@pytest.mark.parametrize('case', CASES)
def test_parts_give_the_numbers_of_all_at_once(case, monkeypatch):
  b, n, m, heads, causal, most = CASES[case]
  monkeypatch.setattr(attention_on_cpu, '_MOST_WEIGHTS', most)
  arrays = make_arrays(b, n, m, heads)
  compute = jax.jit(lambda *x: attention_on_cpu.attend(causal, zeros, *x))
  np.testing.assert_allclose(
    compute(*arrays), plain(*arrays, causal), rtol=2e-5, atol=2e-5
  )


def test_parts_of_bfloat16_are_as_exact_as_all_at_once():
  arrays = [jnp.asarray(x, jnp.bfloat16) for x in make_arrays(2, 65, 65, 2)]
  expected = plain(*(np.asarray(x, np.float32) for x in arrays))
  in_parts = functools.partial(attention_on_cpu.attend, False, zeros)
  errors = {}
  for name, function in {'parts': in_parts, 'all': attention.attend}.items():
    y = jax.jit(function)(*arrays)
    assert y.dtype == jnp.bfloat16
    errors[name] = np.abs(np.asarray(y, np.float32) - expected).max()
  assert 0 < errors['parts'] <= 1.1 * errors['all']


def test_what_is_differentiated_is_not_computed_in_parts():
  def elsewhere(query, key, value):
    return query * key + value**2

  query, key, value = make_arrays(2, 5, 5, 2)
  out, pull_back = jax.vjp(
    lambda *x: attention_on_cpu.attend(False, elsewhere, *x), query, key, value
  )
  np.testing.assert_allclose(out, query * key + value**2, rtol=1e-6)
  for ours, expected in zip(
    pull_back(jnp.ones_like(out)), (key, query, 2 * value), strict=True
  ):
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_attention_has_a_forward_mode_derivative():
  arrays, tangents = make_arrays(2, 5, 5, 2), make_arrays(2, 5, 5, 2)[::-1]

  def elsewhere(query, key, value):
    return query * key + value**2

  def in_parts(*arrays):
    return attention_on_cpu.attend(False, elsewhere, *arrays)

  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-6),
    jax.jvp(in_parts, arrays, tangents),
    jax.jvp(elsewhere, arrays, tangents),
  )


def test_a_single_cpu_never_holds_the_weights_of_all_examples(monkeypatch):
  arrays = make_arrays(8, 512, 512, 2)
  lowered = jax.jit(attention.attend).lower(*arrays)
  assert '8x2x512x512' in lowered.as_text()
  monkeypatch.setattr(jax, 'device_count', lambda: 1)
  # Another function, or JAX would find what it traced before.
  lowered = jax.jit(lambda *x: attention.attend(*x)).lower(*arrays)
  assert '8x2x512x512' not in lowered.as_text()
  assert '4x512x512' in lowered.as_text()
  np.testing.assert_allclose(
    lowered.compile()(*arrays), plain(*arrays), rtol=2e-5, atol=2e-5
  )


def test_each_device_of_a_mesh_attends_to_its_own_examples():
  mesh = jax.make_mesh((4, 2), ('data', 'tensor'), (AxisType.Auto,) * 2)
  sharding = jax.NamedSharding(mesh, PartitionSpec('data', None, 'tensor'))
  arrays = jax.device_put(make_arrays(8, 9, 9, 4), sharding)
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    assert attention_on_mesh.is_available('cpu', arrays[0])
    assert not attention_on_mesh.is_available('cpu', arrays[0][:3])
    assert not attention_on_mesh.is_available('tpu', arrays[0])
    program = jax.jit(attention.attend).lower(*arrays).compile()
  assert 'all-' not in program.as_text()  # gathers, reductions, exchanges
  y = program(*arrays)
  assert y.sharding.is_equivalent_to(sharding, 4)
  np.testing.assert_allclose(y, plain(*arrays), rtol=2e-5, atol=2e-5)


def test_without_a_mesh_several_devices_compute_all_at_once():
  query = jnp.ones((8, 9, 4, 4))
  assert jax.device_count() > 1
  assert not attention_on_mesh.is_available('cpu', query)
