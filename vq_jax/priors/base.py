"""The base class of priors, and checks of their inputs."""

import dataclasses
from collections.abc import Mapping
from typing import Any
from typing import ClassVar

import jax

from vq_jax.layers import checked
from vq_jax.layers import stacked_parameters
from vq_jax.priors import vocab as vocab_lib


class Prior(checked.CheckedModule):
  """A model of the distribution of the tokens of an image.

  A subclass defines `__call__(tokens, *, label=None, condition=None,
  train=False)`, which maps tokens int32 [B, N] to logits [B, N, K]. A causal
  one also defines `start` and `step`, which compute the logits of one position
  after the other from a cache.

  Attributes:
    causal: whether the logits of a position depend only on the tokens before
      it, so that images are sampled token by token. Otherwise they depend on
      all tokens, of which some are masked.
    id_tables: paths of the parameters with a row for each id of the vocabulary.
    vocab: the meaning of the token ids.
    grid: (h, w), N = h * w tokens.

  Example:
    >>> from vq_jax import priors
    >>> priors.PixelCNN.causal, priors.MaskGIT.causal
    (True, False)
  """

  causal: ClassVar[bool]
  id_tables: ClassVar[tuple[str, ...]] = ()

  vocab: vocab_lib.Vocab
  grid: tuple[int, int]

  @property
  def num_tokens(self) -> int:
    """N, the number of tokens of an image."""
    return self.grid[0] * self.grid[1]


def is_scanned(prior: Prior) -> bool:
  """Returns whether a prior is a transformer whose blocks are a scan."""
  config = getattr(prior, 'transformer', None)
  return config is not None and config.scan


def unroll(
  prior: Prior, variables: Mapping[str, Any]
) -> tuple[Prior, Mapping[str, Any]]:
  """Returns a prior whose blocks are unrolled, and its variables.

  On a CPU a scan copies the parameters of each block, which takes most of the
  time of a step with few tokens.

  Args:
    prior: one of which `is_scanned` is true.
    variables: its variables.
  """
  params = variables['params']
  stack = stacked_parameters.unroll(params['stack'])
  config = dataclasses.replace(prior.transformer, scan=False)
  return (
    prior.clone(transformer=config),
    {**variables, 'params': {**params, 'stack': stack}},
  )


def check_tokens(tokens: jax.Array, grid: tuple[int, int]) -> None:
  """Raises ValueError unless the tokens are [B, h * w]."""
  num_tokens = grid[0] * grid[1]
  if tokens.ndim != 2 or tokens.shape[1] != num_tokens:
    raise ValueError(
      f'tokens must be [B, {num_tokens}], the {grid[0]} x {grid[1]} grid in '
      f'raster order; got {tokens.shape}.'
    )


def check_label(label: jax.Array | None, vocab: vocab_lib.Vocab) -> None:
  """Raises ValueError unless a label is given exactly if there are classes."""
  if (label is None) == bool(vocab.num_classes):
    raise ValueError(
      f'this prior has {vocab.num_classes} classes, so label must be '
      + ('int32 [B].' if vocab.num_classes else 'None.')
    )


def check_condition(
  condition: jax.Array | None, parent_grid: tuple[int, int] | None
) -> None:
  """Raises ValueError unless tokens of the parent level are given if needed.

  Args:
    condition: int32 [B, h' * w'] or None.
    parent_grid: (h', w'), or None for a prior without a parent level.
  """
  if parent_grid is None:
    if condition is not None:
      raise ValueError(
        'this prior has no parent level, so condition must be None; got '
        f'{condition.shape}.'
      )
    return
  h, w = parent_grid
  if condition is None or condition.ndim != 2 or condition.shape[1] != h * w:
    raise ValueError(
      'this prior needs the tokens of the parent level as condition, [B, '
      f'{h * w}], the {h} x {w} grid in raster order; got '
      f'{None if condition is None else condition.shape}.'
    )


def check_parent(
  grid: tuple[int, int],
  parent_codebook_size: int | None,
  parent_grid: tuple[int, int] | None,
) -> None:
  """Raises ValueError unless the fields of the parent level fit the grid."""
  if (parent_grid is None) != (parent_codebook_size is None):
    raise ValueError(
      'parent_codebook_size and parent_grid describe the parent level, so both '
      f'or neither must be given; got {parent_codebook_size} and {parent_grid}.'
    )
  parent = parent_grid or (1, 1)
  if any(n % p for n, p in zip(grid, parent, strict=True)):
    raise ValueError(f'parent_grid must divide the grid {grid}; got {parent}.')
