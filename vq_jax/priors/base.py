"""What every prior checks of its inputs."""

import jax

from vq_jax.priors import vocab as vocab_lib


def check_tokens(tokens: jax.Array, grid: tuple[int, int]) -> None:
  """Raises ValueError unless tokens are [B, N] for that grid."""
  num_tokens = grid[0] * grid[1]
  if tokens.ndim != 2 or tokens.shape[1] != num_tokens:
    raise ValueError(
      f'tokens must be [B, {num_tokens}], the {grid[0]} x {grid[1]} grid row '
      f'by row; got {tokens.shape}.'
    )


def check_label(label: jax.Array | None, vocab: vocab_lib.Vocab) -> None:
  """Raises ValueError unless a label is there just where there are classes."""
  if (label is None) == bool(vocab.num_classes):
    raise ValueError(
      f'this prior has {vocab.num_classes} classes, so label must be '
      + ('int32 [B].' if vocab.num_classes else 'None.')
    )


def check_condition(
  condition: jax.Array | None, grid: tuple[int, int] | None
) -> None:
  """Raises ValueError unless coarser codes are there just where wanted.

  Args:
    condition: int32 [B, h' * w'] or None.
    grid: (h', w'), or None for a prior without coarser codes.
  """
  if grid is None:
    if condition is not None:
      raise ValueError(
        'this prior learns the coarsest codes, so condition must be None; got '
        f'{condition.shape}.'
      )
    return
  wanted = grid[0] * grid[1]
  if condition is None or condition.ndim != 2 or condition.shape[1] != wanted:
    raise ValueError(
      f'this prior needs the coarser codes as condition, [B, {wanted}], the '
      f'{grid[0]} x {grid[1]} grid row by row; got '
      f'{None if condition is None else condition.shape}.'
    )
