"""Laws of the codebook that the gradient trains."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.quantizers import cases
from tests.quantizers.cases import BETA
from tests.quantizers.cases import D
from tests.quantizers.cases import K
from vq_jax import quantizers

QUANTIZER = cases.CASES['vq'].make()


def test_loss_is_the_formula():
  """The weights are 1 and `commitment_weight`; both terms are means."""
  variables = cases.init(QUANTIZER)
  z = np.asarray(cases.latents(3, 5), np.float64)
  codes = cases.table(QUANTIZER, variables)
  distance = cases.distances(z, codes).min(axis=-1)
  mean_square = distance.mean() / D
  quantized, _ = cases.run(QUANTIZER, variables, jnp.asarray(z, jnp.float32))
  np.testing.assert_allclose(quantized.loss, (1 + BETA) * mean_square, 1e-5)
  np.testing.assert_allclose(
    quantized.stats['commitment_loss'], mean_square, 1e-5
  )


def test_legacy_weights_the_other_term():
  """As taming-transformers: mean (sg[e] - z)^2 + w mean (e - sg[z])^2."""
  quantizer = cases.CASES['vq'].make(legacy=True)
  variables = cases.init(quantizer)
  z = jnp.asarray(cases.latents(6))
  quantized, got = cases.derivatives(quantizer, variables, z, False)
  want = 2 * (z - quantized.quantized) / z.size
  np.testing.assert_allclose(got['loss'][1], want, rtol=1e-5, atol=1e-8)
  _, plain = cases.derivatives(QUANTIZER, variables, z, False)
  np.testing.assert_allclose(
    got['loss'][0]['params']['codebook'],
    BETA * plain['loss'][0]['params']['codebook'],
    rtol=1e-5,
    atol=1e-8,
  )


def test_the_codebook_loss_moves_chosen_codes_only_with_weight_one():
  variables = cases.init(QUANTIZER)
  z = cases.latents(6)
  codes = cases.table(QUANTIZER, variables)

  def loss(params):
    return QUANTIZER.apply(params, z).loss

  got = jax.jit(jax.grad(loss))(variables)['params']['codebook']
  want = np.zeros((K, D))
  for row in np.asarray(z):
    k = cases.distances(row, codes).argmin()
    want[k] += 2 * (codes[k] - row) / z.size
  assert 0 < (want != 0).all(axis=1).sum() < K
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-8)


def test_reconstruction_does_not_move_the_codebook():
  """The straight-through codes carry the latent's gradient, not the table's."""
  variables = cases.init(QUANTIZER)

  def reconstruction(params):
    return jnp.sum(
      jnp.square(QUANTIZER.apply(params, cases.latents(6)).quantized)
    )

  gradient = jax.jit(jax.grad(reconstruction))(variables)
  assert not gradient['params']['codebook'].any()


def test_training_keeps_no_state():
  variables = cases.init(QUANTIZER)
  quantized, after = cases.step(QUANTIZER, variables, cases.latents(6))
  cases.assert_same(after, variables)
  cases.assert_same(
    quantized, cases.run(QUANTIZER, variables, cases.latents(6))[0]
  )


def test_gradient_descent_brings_the_codes_to_the_latents():
  """On its loss alone, the codebook ends at the means of its clusters."""
  variables = cases.init(QUANTIZER)
  z = cases.latents(40)

  @jax.jit
  def descend(variables):
    def body(_, variables):
      gradient = jax.grad(lambda v: QUANTIZER.apply(v, z).loss)(variables)
      return jax.tree.map(lambda v, g: v - 10 * g, variables, gradient)

    return jax.lax.fori_loop(0, 500, body, variables)

  variables = descend(variables)
  codes = cases.table(QUANTIZER, variables)
  indices = np.asarray(cases.run(QUANTIZER, variables, z)[0].indices)
  for k in np.unique(indices):
    mean = np.asarray(z)[indices == k].mean(axis=0)
    np.testing.assert_allclose(codes[k], mean, atol=1e-4)


def test_default_table_is_uniform_in_sonnets_range():
  quantizer = quantizers.VectorQuantizer(codebook_size=512, code_dim=12)
  codes = jax.jit(quantizer.init)(jax.random.key(0), jnp.zeros((1, 12)))
  codes = np.asarray(codes['params']['codebook'])
  assert codes.shape == (512, 12)
  assert 0.49 < np.abs(codes).max() <= 0.5
  np.testing.assert_allclose(codes.var(), 1 / 12, rtol=0.05)
  np.testing.assert_allclose(codes.mean(), 0, atol=0.02)


def test_a_bfloat16_table_quantizes_in_float32():
  quantizer = cases.CASES['vq'].make(param_dtype=jnp.bfloat16)
  variables = cases.init(quantizer)
  assert variables['params']['codebook'].dtype == jnp.bfloat16
  quantized, _ = cases.run(quantizer, variables, cases.latents(50))
  codes = cases.table(quantizer, variables)
  assert codes.dtype == quantized.quantized.dtype == jnp.float32
  want = cases.distances(cases.latents(50), codes).argmin(axis=-1)
  np.testing.assert_array_equal(quantized.indices, want)
