"""The attention kernel for TPUs, as JAX interprets it on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from vq_jax.layers import attention_kernel
from vq_jax.layers import attention_on_tpu

# Queries, keys, whether the attention is causal, and what dropout keeps.
CASES = {
  'one block': (17, 17, False, 1.0),
  'one block, causal with dropout': (17, 17, True, 0.8),
  'blocks, causal with dropout': (768, 20, True, 0.8),
  'a last block that is not full': (513, 20, False, 0.8),
}


def arrange(x):
  return jnp.moveaxis(x, 1, 3)


@pytest.mark.parametrize('case', CASES)
def test_outputs_and_gradients_equal_those_of_attention(case):
  n, m, causal, keep_prob = CASES[case]
  rng = np.random.default_rng(0)
  query, gradient = rng.normal(size=(2, 2, n, 6, 16)).astype(np.float32)
  key, value = rng.normal(size=(2, 2, m, 6, 16)).astype(np.float32)
  keep = rng.random((1, 1, n, m)) < keep_prob if keep_prob < 1 else None
  seen = np.tri(n, m, dtype=bool) if causal else np.ones((n, m), bool)

  def expected(query, key, value):
    logits = jnp.einsum('bnhd,bmhd->bhnm', query, key) / 4
    weights = jax.nn.softmax(jnp.where(seen, logits, -1e30))
    if keep is not None:
      weights *= keep / keep_prob
    return jnp.einsum('bhnm,bmhd->bnhd', weights, value)

  out, pull_back = jax.vjp(expected, query, key, value)
  settings = attention_kernel.Settings(
    causal=causal, keep_prob=keep_prob, interpret=True
  )
  inputs = *map(arrange, (query, key, value)), None
  if keep is not None:
    inputs = *inputs[:3], keep[0, 0].T
  found = attention_kernel.forward(settings, *inputs)
  np.testing.assert_allclose(found, arrange(out), atol=2e-6, rtol=2e-6)
  gradients = attention_kernel.backward(settings, *inputs, arrange(gradient))
  for ours, theirs in zip(gradients, pull_back(gradient), strict=True):
    np.testing.assert_allclose(ours, arrange(theirs), atol=1e-5, rtol=1e-5)


def test_the_kernel_is_chosen_for_a_mesh_of_tpus_alone():
  query = jnp.ones((4, 9, 2, 16))
  mask = jnp.ones((4, 2, 9, 9), bool)
  assert not attention_on_tpu.is_available(query, query, None)  # a CPU
  with jax.sharding.use_abstract_mesh(make_mesh('tpu', data=2, tensor=2)):
    assert attention_on_tpu.is_available(query, query, None)
    assert attention_on_tpu.is_available(query, query, mask[:1, :1])
    assert not attention_on_tpu.is_available(query, query, mask)
    assert not attention_on_tpu.is_available(query[..., :8], query, None)
    assert not attention_on_tpu.is_available(query[:3], query[:3], None)
    many = jax.ShapeDtypeStruct((4, 2000, 2, 16), jnp.float32)
    assert not attention_on_tpu.is_available(many, many, None)
  for mesh in (make_mesh('cpu', data=2), make_mesh('tpu', stage=2)):
    with jax.sharding.use_abstract_mesh(mesh):
      assert not attention_on_tpu.is_available(query, query, None)


def make_mesh(platform, **axes):
  """A mesh as `train.sharding` makes it, of devices that are not there."""
  device = jax.sharding.AbstractDevice('a device', 1, platform)
  return jax.sharding.AbstractMesh(
    tuple(axes.values()),
    tuple(axes),
    (AxisType.Auto,) * len(axes),
    abstract_device=device,
  )
