"""Laws of the critic of tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.priors import tiny
from tests.utils.variables import random_variables
from vq_jax import priors
from vq_jax.utils import trees

VOCAB = priors.Vocab(codebook_size=12, num_classes=3, null_class=True)


def make(**fields):
  return tiny.make(priors.TokenCritic, **{'vocab': VOCAB, **fields})


@pytest.mark.parametrize('conditioning', ['token', 'adaln_zero'])
def test_the_logit_of_a_token_depends_on_all_tokens_and_the_label(conditioning):
  critic = make(conditioning=conditioning)
  tokens = jax.random.randint(jax.random.key(0), (1, 12), 0, 12)
  label = jnp.array([0])
  variables = random_variables(critic, tokens, label=label)
  apply = jax.jit(critic.apply)
  want = apply(variables, tokens, label=label)
  assert want.shape == (1, 12) and want.dtype == jnp.float32
  assert np.abs(apply(variables, tokens, label=label + 1) - want).min() > 1e-5
  for i in range(12):
    moved = tokens.at[0, i].set((tokens[0, i] + 1) % 12)
    got = apply(variables, moved, label=label)
    assert np.abs(got - want).min() > 1e-6, i


def test_it_learns_to_find_replaced_tokens():
  """Rows of one code, in which some tokens were replaced."""
  critic = make(vocab=priors.Vocab(codebook_size=12), dropout=0.0)
  optimizer = optax.adam(3e-3)

  def batch(key):
    code, where, what = jax.random.split(key, 3)
    tokens = jnp.tile(jax.random.randint(code, (32, 1), 0, 12), (1, 12))
    replaced = jax.random.bernoulli(where, 0.2, tokens.shape)
    other = (tokens + jax.random.randint(what, tokens.shape, 1, 12)) % 12
    return jnp.where(replaced, other, tokens), ~replaced

  def update(carry, key):
    params, state = carry
    tokens, real = batch(key)

    def loss(params):
      logits = critic.apply({'params': params}, tokens)
      return optax.sigmoid_binary_cross_entropy(logits, real).mean()

    moves, state = optimizer.update(jax.grad(loss)(params), state)
    return (optax.apply_updates(params, moves), state), None

  @jax.jit
  def train(rng):
    params = critic.init(rng, batch(rng)[0])['params']
    start = (params, optimizer.init(params))
    return jax.lax.scan(update, start, jax.random.split(rng, 300))[0][0]

  params = train(jax.random.key(0))
  tokens, real = batch(jax.random.key(7))
  verdict = critic.apply({'params': params}, tokens) > 0
  assert (verdict == real).mean() > 0.95  # 0.8 are real


def test_the_published_size():
  """20 layers of width 768: 141.8 M in its blocks."""
  critic = priors.TokenCritic(
    vocab=priors.Vocab(codebook_size=1024, num_classes=1000), grid=(16, 16)
  )
  shapes = jax.eval_shape(
    lambda: critic.init(
      jax.random.key(0),
      jnp.zeros((1, 256), jnp.int32),
      label=jnp.zeros(1, jnp.int32),
    )
  )
  blocks = trees.count(shapes['params']['stack'])
  assert round(blocks / 1e6, 1) == 141.8
