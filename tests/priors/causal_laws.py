"""Laws of every causal prior: token i is predicted from those before it.

A prior embeds its tokens by the table `embedding`. `given` are the keywords
that it takes besides the tokens: label and condition, for a batch of `B`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.priors import tiny
from tests.utils.variables import random_variables
from vq_jax import losses

B = 2


def sample_tokens(prior, seed=0):
  rng = np.random.default_rng(seed)
  size = (B, prior.num_tokens)
  return jnp.asarray(rng.integers(0, prior.vocab.codebook_size, size))


def sample_variables(prior, given, seed=0, scale=1):
  """Random ones; the larger, the farther away a token counts."""
  variables = random_variables(prior, sample_tokens(prior), seed=seed, **given)
  return jax.tree.map(lambda x: scale * x, variables)


def one(given):
  """Returns the first of a batch."""
  return jax.tree.map(lambda x: x[:1], given)


def run_steps(prior, variables, tokens, given):
  """Returns the logits [B, N, K] of cached steps along given tokens."""
  cache = prior.apply(variables, len(tokens), method='start', **given)
  # Whatever comes before the first token has no effect.
  unread = jnp.full_like(tokens[:, :1], prior.vocab.codebook_size - 1)
  previous = jnp.concatenate([unread, tokens[:, :-1]], axis=1)

  def step(cache, inputs):
    logits, cache = prior.apply(variables, cache, *inputs, method='step')
    return cache, logits

  positions = jnp.arange(prior.num_tokens)
  _, logits = jax.lax.scan(step, cache, (previous.T, positions))
  return jnp.swapaxes(logits, 0, 1)


def influence(prior, variables, given, table='embedding'):
  """Returns how far each logit moves with each embedded code, [N, n].

  Each position reads another code, so that a row of the embedding table stands
  for one position; the logits are those of a code that no position reads.

  Args:
    prior: the prior.
    variables: its variables.
    given: label and condition.
    table: 'embedding' of the tokens, or 'parent_embedding'.
  """
  given = one(given)
  n, k = prior.num_tokens, prior.vocab.codebook_size
  assert k > n, 'the law needs more codes than tokens'
  tokens = jnp.asarray(np.random.default_rng(0).permutation(k - 1)[None, :n])
  if table == 'embedding':
    read = tokens[0]
  else:
    read = given['condition'][0]
    assert len(np.unique(read)) == len(read), 'the law needs distinct codes'

  def logit(rows):
    params = {**variables['params'], table: {'embedding': rows}}
    return prior.apply({'params': params}, tokens, **given)[0, :, k - 1]

  rows = variables['params'][table]['embedding']
  jacobian = jax.jit(jax.jacrev(logit))(rows)
  return np.abs(jacobian[:, read]).max(axis=-1)


def check_every_earlier_token_counts_and_no_other(prior, given):
  """By the gradient: no look ahead, and no blind spot."""
  moved = influence(prior, sample_variables(prior, given, scale=2), given) > 0
  want = np.tri(prior.num_tokens, k=-1, dtype=bool)
  np.testing.assert_array_equal(moved, want)


def check_a_token_affects_only_later_logits(prior, given):
  """By changing one token at a time."""
  n, k = prior.num_tokens, prior.vocab.codebook_size
  variables = sample_variables(prior, given, scale=2)
  tokens = sample_tokens(prior)[:1]
  changed = jnp.where(jnp.eye(n, dtype=bool), (tokens + 1) % k, tokens)
  batch = jnp.concatenate([tokens, changed])
  repeated = jax.tree.map(lambda x: jnp.repeat(x[:1], n + 1, axis=0), given)
  logits = jax.jit(prior.apply)(variables, batch, **repeated)
  moved = np.abs(logits[1:] - logits[:1]).max(axis=-1)
  for j in range(n):
    np.testing.assert_allclose(moved[j, : j + 1], 0, atol=1e-5)
    assert j == n - 1 or moved[j, j + 1] > 1e-3


def check_cached_steps_equal_the_full_pass(prior, given, atol=1e-5):
  full = jax.jit(prior.apply)
  steps = jax.jit(run_steps, static_argnums=0)
  for seed in range(3):
    variables = sample_variables(prior, given, seed)
    tokens = sample_tokens(prior, seed)
    want = full(variables, tokens, **given)
    got = steps(prior, variables, tokens, given)
    assert got.dtype == want.dtype == jnp.float32
    assert np.ptp(want) > 0.1
    np.testing.assert_allclose(got, want, atol=atol)


def check_bfloat16_stays_near_float32(prior, given, atol):
  """The full pass and the cached steps, whose caches keep their dtype."""
  variables, tokens = sample_variables(prior, given), sample_tokens(prior)
  want = jax.jit(prior.apply)(variables, tokens, **given)
  half = tiny.change(prior, dtype=jnp.bfloat16)
  got = jax.jit(half.apply)(variables, tokens, **given)
  steps = jax.jit(run_steps, static_argnums=0)(half, variables, tokens, given)
  for logits in (got, steps):
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, want, atol=atol)
    assert np.abs(logits - want).max() > 0


def check_dropout_acts_only_in_training(prior, given):
  variables, tokens = sample_variables(prior, given), sample_tokens(prior)

  @jax.jit
  def run(seed):
    rngs = {'dropout': jax.random.key(seed)}
    return prior.apply(variables, tokens, train=True, rngs=rngs, **given)

  assert np.abs(run(0) - run(1)).max() > 1e-3
  np.testing.assert_array_equal(run(0), run(0))
  calm = functools.partial(tiny.change(prior, dropout=0.0).apply, train=True)
  np.testing.assert_allclose(
    jax.jit(prior.apply)(variables, tokens, **given),
    jax.jit(calm)(variables, tokens, **given),
    atol=1e-5,
  )


def check_it_memorizes_a_grid(prior, given, rate=1e-2, steps=150):
  tokens, given = sample_tokens(prior)[:1], one(given)
  optimizer = optax.adam(rate)

  def loss_fn(params):
    logits = prior.apply({'params': params}, tokens, **given)
    return losses.cross_entropy(logits, tokens).mean()

  def update(carry, _):
    params, state = carry
    loss, gradient = jax.value_and_grad(loss_fn)(params)
    moves, state = optimizer.update(gradient, state)
    return (optax.apply_updates(params, moves), state), loss

  @jax.jit
  def train(rng):
    params = prior.init(rng, tokens, **given)['params']
    start = (params, optimizer.init(params))
    return jax.lax.scan(update, start, length=steps)[1]

  losses_seen = train(jax.random.key(0))
  uniform = np.log(prior.vocab.codebook_size)
  np.testing.assert_allclose(losses_seen[0], uniform, rtol=0.3)
  assert losses_seen[-1] < 0.01
