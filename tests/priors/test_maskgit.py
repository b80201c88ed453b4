"""Laws of the MaskGIT transformer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden import maskgit_transformer as golden
from tests.priors import tiny
from tests.utils.variables import random_variables
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


def make(**fields):
  vocab = priors.Vocab(codebook_size=12, num_classes=3, null_class=True)
  return tiny.make(priors.MaskGIT, **{'vocab': vocab, **fields})


def inputs(prior, batch=2):
  tokens = jax.random.randint(
    jax.random.key(1), (batch, prior.num_tokens), 0, prior.vocab.codebook_size
  )
  return tokens.at[:, ::2].set(prior.vocab.mask_id), jnp.arange(batch)


@pytest.mark.parametrize(('norm', 'mlp_kernel'), [('pre', 3), ('post', 1)])
def test_scan_and_unrolled_blocks_compute_the_same(norm, mlp_kernel):
  prior = make(norm=norm, mlp_kernel=mlp_kernel)
  tokens, label = inputs(prior)
  params = jax.jit(prior.init)(jax.random.key(0), tokens, label=label)['params']
  unrolled = dict(params)
  blocks = params['stack']['blocks']
  unrolled['stack'] = {
    'block_0': jax.tree.map(lambda x: x[0], blocks),
    'block_1': jax.tree.map(lambda x: x[1], blocks),
  }
  want = jax.jit(prior.apply)({'params': params}, tokens, label=label)
  got = jax.jit(tiny.change(prior, scan=False).apply)(
    {'params': unrolled}, tokens, label=label
  )
  np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(
  'remat', [True, 'dots_saveable', 'dots_with_no_batch_dims_saveable']
)
def test_remat_changes_no_gradient(remat):
  prior = make()
  tokens, label = inputs(prior)
  variables = jax.jit(prior.init)(jax.random.key(0), tokens, label=label)

  def gradient(prior):
    def loss(variables):
      return jnp.square(
        jax.jit(prior.apply)(variables, tokens, label=label)
      ).mean()

    return jax.jit(jax.grad(loss))(variables)

  want, got = gradient(prior), gradient(tiny.change(prior, remat=remat))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), want, got
  )


def test_grid_convolution_sees_exactly_the_neighbours():
  """With attention cut off, a token moves its eight neighbours' logits."""
  prior = make(mlp_kernel=3, layers=1, norm='pre')
  tokens, label = inputs(prior, batch=1)
  variables = jax.jit(prior.init)(jax.random.key(0), tokens, label=label)
  values = variables['params']['stack']['blocks']['attention']['value']
  values['kernel'] = jnp.zeros_like(values['kernel'])
  apply = jax.jit(prior.apply)
  moved = jnp.abs(
    apply(variables, tokens.at[0, 0].set(3), label=label)
    - apply(variables, tokens.at[0, 0].set(4), label=label)
  ).max(axis=-1)
  seen = np.asarray(moved).reshape(3, 4) > 0
  want = np.zeros((3, 4), bool)
  want[:2, :2] = True
  np.testing.assert_array_equal(seen, want)


def test_dropout_acts_only_in_training():
  prior = make(dropout=0.5)
  tokens, label = inputs(prior)
  variables = jax.jit(prior.init)(jax.random.key(0), tokens, label=label)

  def run(seed):
    rngs = {'dropout': jax.random.key(seed)}
    return prior.apply(variables, tokens, label=label, train=True, rngs=rngs)

  assert not np.allclose(run(0), run(1))
  np.testing.assert_array_equal(run(0), run(0))


def test_embeddings_may_be_dropped_at_a_rate_of_their_own():
  tokens, label = inputs(make())
  for rate in (0.0, 0.5):
    prior = make(dropout=0.0, embedding_dropout=rate)
    variables = jax.jit(prior.init)(jax.random.key(0), tokens, label=label)
    plain = jax.jit(prior.apply)(variables, tokens, label=label)
    rngs = {'dropout': jax.random.key(0)}
    got = prior.apply(variables, tokens, label=label, train=True, rngs=rngs)
    assert np.allclose(got, plain) == (rate == 0)


def test_initializers_of_tables_kernels_and_the_last_adaln():
  ones = jax.nn.initializers.ones
  prior = make(
    **MODERN, kernel_init=ones, embedding_init=ones, adaln_out_init=ones
  )
  tokens, label = inputs(prior)
  params = jax.jit(prior.init)(jax.random.key(0), tokens, label=label)['params']
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    names = [p.key for p in path]
    if names[-1] in ('kernel', 'embedding', 'register', 'table'):
      of_block = 'adaln' in names and 'blocks' in names
      np.testing.assert_array_equal(leaf, 0 if of_block else 1, str(names))


def test_bfloat16_stays_near_float32():
  prior = make()
  tokens, label = inputs(prior)
  variables = jax.jit(prior.init)(jax.random.key(0), tokens, label=label)
  want = jax.jit(prior.apply)(variables, tokens, label=label)
  got = jax.jit(tiny.change(prior, dtype=jnp.bfloat16).apply)(
    variables, tokens, label=label
  )
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, atol=0.05)


def test_wrong_inputs_are_named():
  prior = make()
  tokens, label = inputs(prior)
  variables = jax.jit(prior.init)(jax.random.key(0), tokens, label=label)
  with pytest.raises(ValueError, match=r'tokens must be \[B, 12\]'):
    prior.apply(variables, tokens[:, :5], label=label)
  with pytest.raises(ValueError, match='label must be int32'):
    prior.apply(variables, tokens)


def test_unconditional_prior_takes_no_label():
  prior = make(vocab=priors.Vocab(codebook_size=12))
  tokens, label = inputs(prior)
  variables = jax.jit(prior.init)(jax.random.key(0), tokens)
  assert prior.apply(variables, tokens).shape == (2, 12, 12)
  with pytest.raises(ValueError, match='label must be None'):
    jax.jit(prior.apply)(variables, tokens, label=label)


MODERN = {
  'norm': 'pre',
  'norm_type': 'rms',
  'bias': False,
  'qk_norm': 'head',
  'activation': 'swiglu',
  'conditioning': 'adaln_zero',
  'registers': 1,
  'embedding_norm': False,
  'head': 'norm',
  'epsilon': 1e-6,
}


def get_shapes(prior):
  tokens = jnp.zeros((1, prior.num_tokens), jnp.int32)
  return jax.eval_shape(
    lambda: prior.init(jax.random.key(0), tokens, label=jnp.zeros(1, jnp.int32))
  )


def test_parameter_count_of_the_published_model_at_512():
  vocab = priors.Vocab(codebook_size=1024, num_classes=1000)
  prior = priors.MaskGIT(vocab=vocab, grid=(32, 32))
  assert trees.count(get_shapes(prior)) == 173_047_017


@pytest.mark.parametrize(
  ('width', 'layers', 'heads', 'mlp_width', 'millions'),
  [
    (384, 6, 6, 1024, 23),
    (512, 12, 8, 1536, 69),
    (768, 12, 12, 2048, 142),
    (1024, 24, 16, 2816, 480),
  ],
)
def test_the_published_sizes_of_the_modern_form(
  width, layers, heads, mlp_width, millions
):
  """Halton-MaskGIT's tiny to large; the hidden width is 8/3, rounded up."""
  vocab = priors.Vocab(codebook_size=16384, num_classes=1000, null_class=True)
  prior = tiny.make(
    priors.MaskGIT,
    vocab=vocab,
    grid=(16, 16),
    layers=layers,
    width=width,
    heads=heads,
    mlp_width=mlp_width,
    **MODERN,
  )
  found = trees.count(get_shapes(prior)) / 1e6
  np.testing.assert_allclose(found, millions, rtol=0.01)


def test_the_modern_form_initially_compares_each_token_with_all_codes():
  """Its blocks are the identity, so a token is compared with all codes."""
  prior = make(**MODERN, dropout=0.0)
  tokens = jax.random.randint(jax.random.key(1), (2, 12), 0, 12)
  label = jnp.arange(2)
  variables = jax.jit(prior.init)(jax.random.key(0), tokens, label=label)
  p = variables['params']
  x = (
    p['embedding']['embedding'][tokens]
    + p['position_embedding']['table'][1:][None]
  )
  x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-6)
  want = x @ p['embedding']['embedding'][:12].T
  got = jax.jit(prior.apply)(variables, tokens, label=label)
  np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(
  'fields',
  [
    {},
    MODERN,
    {'positions': 'rope_2d'},
    {'positions': 'learned_2d', 'registers': 2},
    {'parent_codebook_size': 5, 'parent_grid': (3, 2)},
  ],
)
def test_every_token_label_and_parent_token_reaches_every_logit(fields):
  prior = make(**fields)
  tokens, _ = inputs(prior, batch=1)
  given = {'label': jnp.array([0])}
  if 'parent_grid' in fields:
    given['condition'] = jnp.array([[0, 1, 2, 3, 4, 0]])
  variables = random_variables(prior, tokens, **given)
  apply = jax.jit(prior.apply)
  want = apply(variables, tokens, **given)
  changes = [{'label': jnp.array([1])}]
  if 'parent_grid' in fields:
    changes.append({'condition': given['condition'].at[0, 3].set(0)})
  for change in changes:
    got = apply(variables, tokens, **{**given, **change})
    assert np.abs(got - want).max(axis=-1).min() > 1e-4, change
  for i in range(12):
    moved = tokens.at[0, i].set(3 if tokens[0, i] != 3 else 4)
    got = apply(variables, moved, **given)
    assert np.abs(got - want).max(axis=-1).min() > 1e-5, i


@pytest.mark.parametrize('name', ['norm', 'norm_type', 'activation', 'head'])
def test_unknown_choices_are_named(name):
  with pytest.raises(ValueError, match=f"{name} must be '.*got 'nonsense'"):
    make(**{name: 'nonsense'})
