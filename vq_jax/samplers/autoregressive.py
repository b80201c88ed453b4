"""Raster sampling: one token after the other, each given all before it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vq_jax.samplers import choice as choice_lib
from vq_jax.samplers import keys as key_lib

StepFn = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, Any]]


def decode(
  keys: jax.Array,
  step_fn: StepFn,
  cache: Any,
  tokens: jax.Array,
  known: jax.Array,
  choice: choice_lib.TokenChoice,
) -> jax.Array:
  """Draws the tokens that are not known, row by row of the grid.

  Any positions may be known, other ones in each example; but a token is drawn
  given those before it alone, so known tokens that come later do not shape it.

  Args:
    keys: [B], one per example.
    step_fn: (cache, previous int32 [B], position int32 []) -> (logits float
      [B, K], cache), called for the positions 0 to N - 1 in order. At position
      0 there is no previous token: it is 0 and means nothing.
    cache: what `step_fn` wants at first; a tree of arrays whose shapes stay.
    tokens: int32 [B, N]; what stands where they are not known is ignored.
    known: bool [B, N].
    choice: how a token is drawn.

  Returns:
    int32 [B, N].

  Raises:
    ValueError: if tokens and known differ in shape.
  """
  if tokens.ndim != 2 or tokens.shape != known.shape:
    raise ValueError(
      'tokens and known must both be [B, N], row by row of the grid; got '
      f'{tokens.shape} and {known.shape}.'
    )

  def step(carry, inputs):
    cache, previous = carry
    position, given, is_given = inputs
    logits, cache = step_fn(cache, previous, position)
    drawn = choice(key_lib.fold_in(keys, position), logits)
    token = jnp.where(is_given, given, drawn)
    return (cache, token), token

  _, drawn = jax.lax.scan(
    step,
    (cache, jnp.zeros_like(tokens[:, 0])),
    (jnp.arange(tokens.shape[1]), tokens.T, known.T),
  )
  return drawn.T
