"""Laws of the MaskGIT transformer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden import maskgit_transformer as golden
from vq_jax import priors
from vq_jax.utils import trees


def test_logits_equal_the_published_ones():
  tokens = jnp.where(
    golden.VECTORS['mask'], golden.VOCAB.mask_id, golden.VECTORS['indices']
  )
  logits = golden.PRIOR.apply(
    {'params': golden.params()}, tokens, label=golden.VECTORS['labels']
  )
  np.testing.assert_allclose(logits, golden.VECTORS['logits'], atol=1e-5)


def test_parameter_count_of_the_published_model():
  vocab = priors.Vocab(codebook_size=1024, num_classes=1000)
  prior = priors.MaskGIT(vocab=vocab, grid=(16, 16))
  shapes = jax.eval_shape(
    lambda: prior.init(
      jax.random.key(0),
      jnp.zeros((1, 256), jnp.int32),
      label=jnp.zeros(1, jnp.int32),
    )
  )
  assert trees.count(shapes) == 172_457_193


def tiny(**fields):
  vocab = priors.Vocab(codebook_size=12, num_classes=3, null_class=True)
  defaults = {'layers': 2, 'width': 16, 'heads': 2, 'mlp_width': 32}
  return priors.MaskGIT(
    **{'vocab': vocab, 'grid': (3, 4), **defaults, **fields}
  )


def inputs(prior, batch=2):
  tokens = jax.random.randint(
    jax.random.key(1), (batch, prior.num_tokens), 0, prior.vocab.codebook_size
  )
  return tokens.at[:, ::2].set(prior.vocab.mask_id), jnp.arange(batch)


@pytest.mark.parametrize('norm', ['pre', 'post'])
@pytest.mark.parametrize('mlp_kernel', [1, 3])
def test_scan_and_unrolled_blocks_compute_the_same(norm, mlp_kernel):
  prior = tiny(norm=norm, mlp_kernel=mlp_kernel)
  tokens, label = inputs(prior)
  params = prior.init(jax.random.key(0), tokens, label=label)['params']
  unrolled = dict(params)
  blocks = params['transformer']['blocks']
  unrolled['transformer'] = {
    'block_0': jax.tree.map(lambda x: x[0], blocks),
    'block_1': jax.tree.map(lambda x: x[1], blocks),
  }
  want = prior.apply({'params': params}, tokens, label=label)
  got = prior.clone(scan=False).apply({'params': unrolled}, tokens, label=label)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_remat_changes_no_gradient():
  prior = tiny()
  tokens, label = inputs(prior)
  variables = prior.init(jax.random.key(0), tokens, label=label)

  def gradient(prior):
    def loss(variables):
      return jnp.square(prior.apply(variables, tokens, label=label)).mean()

    return jax.grad(loss)(variables)

  want, got = gradient(prior), gradient(prior.clone(remat=True))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), want, got
  )


def test_grid_convolution_sees_exactly_the_neighbours():
  """With attention cut off, a token moves its eight neighbours' logits."""
  prior = tiny(mlp_kernel=3, layers=1, norm='pre')
  tokens, label = inputs(prior, batch=1)
  variables = prior.init(jax.random.key(0), tokens, label=label)
  values = variables['params']['transformer']['blocks']['attention']['value']
  values['kernel'] = jnp.zeros_like(values['kernel'])
  moved = jnp.abs(
    prior.apply(variables, tokens.at[0, 0].set(3), label=label)
    - prior.apply(variables, tokens.at[0, 0].set(4), label=label)
  ).max(axis=-1)
  seen = np.asarray(moved).reshape(3, 4) > 0
  want = np.zeros((3, 4), bool)
  want[:2, :2] = True
  np.testing.assert_array_equal(seen, want)


def test_dropout_acts_only_in_training():
  prior = tiny(dropout=0.5)
  tokens, label = inputs(prior)
  variables = prior.init(jax.random.key(0), tokens, label=label)

  def run(seed):
    rngs = {'dropout': jax.random.key(seed)}
    return prior.apply(variables, tokens, label=label, train=True, rngs=rngs)

  assert not np.allclose(run(0), run(1))
  np.testing.assert_array_equal(run(0), run(0))


def test_bfloat16_stays_near_float32():
  prior = tiny()
  tokens, label = inputs(prior)
  variables = prior.init(jax.random.key(0), tokens, label=label)
  want = prior.apply(variables, tokens, label=label)
  got = prior.clone(dtype=jnp.bfloat16).apply(variables, tokens, label=label)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, atol=0.05)


def test_wrong_inputs_are_named():
  prior = tiny()
  tokens, label = inputs(prior)
  variables = prior.init(jax.random.key(0), tokens, label=label)
  with pytest.raises(ValueError, match=r'tokens must be \[B, 12\]'):
    prior.apply(variables, tokens[:, :5], label=label)
  with pytest.raises(ValueError, match='label must be int32'):
    prior.apply(variables, tokens)


def test_unconditional_prior_takes_no_label():
  prior = tiny(vocab=priors.Vocab(codebook_size=12))
  tokens, label = inputs(prior)
  variables = prior.init(jax.random.key(0), tokens)
  assert prior.apply(variables, tokens).shape == (2, 12, 12)
  with pytest.raises(ValueError, match='label must be None'):
    prior.apply(variables, tokens, label=label)
