"""Autoregressive sampling: one token after the other, in raster order."""

import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import priors
from vq_jax.samplers import base
from vq_jax.samplers import choice as choice_lib
from vq_jax.samplers import keys as key_lib

StepFn = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoregressiveSampler(base.TokenSampler):
  """Samples an autoregressive prior token by token, with a cache.

  The options are those of `TokenSampler`. Progress, on which guidance may
  depend, is position / number of tokens.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from vq_jax import priors, samplers
    >>> prior = priors.PixelCNN(
    ...   vocab=priors.Vocab(codebook_size=8), grid=(2, 2), layers=1,
    ...   channels=4)
    >>> tokens = jnp.zeros((3, 4), jnp.int32)
    >>> variables = prior.init(jax.random.key(0), tokens)
    >>> sampler = samplers.AutoregressiveSampler(temperature=0.9, top_k=4)
    >>> keys = samplers.example_keys(jax.random.key(1), jnp.arange(3))
    >>> sampler(keys, prior, variables, tokens, tokens > 0).shape
    (3, 4)
  """

  def __call__(
    self,
    keys: jax.Array,
    prior: priors.Prior,
    variables: Mapping[str, Any],
    tokens: jax.Array,
    known: jax.Array,
    *,
    label: jax.Array | None = None,
    condition: jax.Array | None = None,
    trace: bool = False,
  ) -> jax.Array:
    """Samples the tokens that are not known.

    Args:
      keys: [B], one key per example; see `example_keys`.
      prior: an autoregressive prior.
      variables: its variables.
      tokens: int32 [B, N]; values are ignored where they are not known.
      known: bool [B, N], True where a token is given and must stay.
      label: int32 [B], the classes, for a prior with classes.
      condition: int32 [B, M], the tokens of the parent level, for a prior that
        is conditioned on one.
      trace: whether to return the tokens after each row of the grid.

    Returns:
      int32 [B, N]. With `trace` int32 [B, h, N]: the tokens after each of the
      h rows; those of later rows are `tokens` as they were passed.

    Raises:
      ValueError: if the prior is not autoregressive, or guidance is asked of a
        prior without a null class.
    """
    if not prior.causal:
      raise ValueError(
        f'an AutoregressiveSampler cannot sample a {type(prior).__name__}, '
        'which is not autoregressive; use a MaskGITSampler.'
      )
    guidance = self.make_guidance()

    def sample(prior, variables):
      inputs = {'label': label, 'condition': condition}
      apply, rows = base.make_apply(
        guidance, prior, variables, len(tokens), **inputs
      )
      step = functools.partial(prior.apply, variables, method='step')
      return decode(
        keys,
        guidance.step_fn(step, prior.num_tokens),
        apply(rows, method='start'),
        tokens,
        known,
        self.make_choice(),
      )

    sampled = base.unroll_on_cpu(sample, prior, variables)
    if not trace:
      return sampled
    done = decided_rows(prior.grid)
    return jnp.where(done[None], sampled[:, None], tokens[:, None])


def decided_rows(grid: tuple[int, int]) -> np.ndarray:
  """Returns which tokens are decided after each row: bool [h, h * w]."""
  h, w = grid
  return np.repeat(np.tri(h, dtype=bool), w, axis=1)


def decode(
  keys: jax.Array,
  step_fn: StepFn,
  cache: Any,
  tokens: jax.Array,
  known: jax.Array,
  choice: choice_lib.TokenChoice,
) -> jax.Array:
  """Samples the tokens that are not known, in raster order.

  Any positions may be known, and they may differ between examples. A token is
  sampled given the tokens before it alone, so known tokens at later positions
  have no influence on it.

  Args:
    keys: [B], one key per example.
    step_fn: (cache, previous int32 [B], position int32 []) -> (logits float
      [B, K], cache). It is called for the positions 0 to N - 1 in order; at
      position 0 the previous token is 0 and must be ignored.
    cache: the first cache, a tree of arrays; `step_fn` must keep its shapes.
    tokens: int32 [B, N]; values are ignored where they are not known.
    known: bool [B, N].
    choice: samples a token from its logits.

  Returns:
    int32 [B, N].

  Raises:
    ValueError: if tokens and known differ in shape.
  """
  if tokens.ndim != 2 or tokens.shape != known.shape:
    raise ValueError(
      'tokens and known must both be [B, N], in raster order; got '
      f'{tokens.shape} and {known.shape}.'
    )

  def step(carry, inputs):
    cache, previous = carry
    position, given, is_given = inputs
    logits, cache = step_fn(cache, previous, position)
    sampled = choice(key_lib.fold_in(keys, position), logits)
    token = jnp.where(is_given, given, sampled)
    return (cache, token), token

  _, sampled = jax.lax.scan(
    step,
    (cache, jnp.zeros_like(tokens[:, 0])),
    (jnp.arange(tokens.shape[1]), tokens.T, known.T),
  )
  return sampled.T
