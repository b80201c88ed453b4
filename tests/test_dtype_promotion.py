"""Quantizers, samplers and losses mix no dtypes by accident.

Under strict promotion JAX raises where an operation would combine, say,
bfloat16 and float32 without being told to. Shapes and dtypes are enough for
that, so nothing is compiled.
"""

import chex
import jax
import jax.numpy as jnp
import pytest

from tests.quantizers import cases
from vq_jax import losses
from vq_jax import samplers

D = cases.D


@pytest.fixture(autouse=True)
def strict():
  with jax.numpy_dtype_promotion('strict'):
    yield


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('name', sorted(cases.CASES))
def test_quantizers_return_float32(name, train, dtype):
  quantizer = cases.CASES[name].make()
  rngs = {'params': jax.random.key(0), 'code': jax.random.key(1)}

  def run(z):
    variables = quantizer.init(rngs, z)
    found, _ = quantizer.apply(
      variables, z, train=train, mutable='codebook', rngs=rngs
    )
    gradient = jax.grad(
      lambda z: (
        quantizer.apply(
          variables, z, train=train, mutable='codebook', rngs=rngs
        )[0].loss
      )
    )(z)
    return found, gradient

  z = jax.ShapeDtypeStruct((2, 3, quantizer.code_dim), dtype)
  found, gradient = jax.eval_shape(run, z)
  chex.assert_type([found.quantized, found.loss], jnp.float32)
  chex.assert_type(list(found.stats.values()), jnp.float32)
  chex.assert_type(found.indices, jnp.int32)
  chex.assert_type(gradient, dtype)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
  'choice',
  [
    samplers.TokenChoice(),
    samplers.TokenChoice(temperature=0),
    samplers.TokenChoice(temperature=0.7, top_k=3, top_p=0.9),
  ],
)
def test_a_token_is_chosen_from_logits_of_any_dtype(choice, dtype):
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
  logits = jax.ShapeDtypeStruct((2, 5, 8), dtype)
  chex.assert_type(jax.eval_shape(choice, keys, logits), jnp.int32)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_losses_of_images_and_tokens(dtype):
  image = jax.ShapeDtypeStruct((2, 4, 4, 3), dtype)
  logits = jax.ShapeDtypeStruct((2, 4, 8), dtype)
  tokens = jax.ShapeDtypeStruct((2, 4), jnp.int32)
  for loss in (losses.l1, losses.l2):
    jax.eval_shape(loss, image, image)
  jax.eval_shape(losses.cross_entropy, logits, tokens)
  for loss in (losses.Hinge(), losses.NonSaturating(), losses.Vanilla()):
    jax.eval_shape(loss.generator, logits)
    jax.eval_shape(loss.discriminator, logits, logits)
