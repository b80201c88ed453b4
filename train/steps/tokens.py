"""What a prior learns from: the tokens of a batch."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from vq_jax.data import tokens as tokens_lib
from vq_jax.utils import images


def tokens_of(
  autoencoder: nn.Module, variables: Any, batch: Mapping, level: int = 0
) -> tuple[jax.Array, jax.Array | None]:
  """Returns the tokens of a batch, and those of the next coarser level.

  The frozen autoencoder encodes images, unless the batch holds their tokens.

  Args:
    autoencoder: with codes.
    variables: its.
    batch: with `image`, or with tokens as `data.TokenSource` gives them.
    level: which grid of codes; 0 is the coarsest.

  Returns:
    int32 [B, N], row by row, and the coarser ones [B, N'] or None at level 0.
  """
  names = tokens_lib.feature_names(len(autoencoder.token_grids))
  if names[0] in batch:
    grids = [batch[name] for name in names]
  else:
    indices = autoencoder.apply(
      variables, images.to_float(batch['image']), method='encode'
    ).indices
    grids = indices if isinstance(indices, tuple) else (indices,)
  flat = [grid.reshape(grid.shape[0], -1) for grid in grids]
  return flat[level], flat[level - 1] if level else None
