"""The architecture of a released prior."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion.rules import Rule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior:
  """What is known of a prior before its weights are converted.

  Attributes:
    spec: the spec of the module; see `vq_jax.config.registry`.
    num_classes: number of classes; 0 for an unconditional prior.
    null_class: whether there is a label for "no class".
    grid: (h, w) of the tokens.
    sampler: the sampler options of its authors.
    rules: table of rules for its arrays.
  """

  spec: Mapping[str, Any]
  num_classes: int
  grid: tuple[int, int]
  sampler: Mapping[str, Any]
  rules: tuple[Rule, ...]
  null_class: bool = False


def square(tokens: int) -> tuple[int, int]:
  """Returns the square grid with a number of tokens.

  Raises:
    ConvertError: if the number is not a square.
  """
  side = math.isqrt(max(tokens, 0))
  if not side or side * side != tokens:
    raise errors.ConvertError(f'{tokens} tokens are not a square grid')
  return (side, side)
