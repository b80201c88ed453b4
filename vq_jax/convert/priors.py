"""What is read of a prior before its weights."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from vq_jax.convert import errors
from vq_jax.convert.rules import Rule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior:
  """A prior, as far as names, shapes and a config tell.

  Attributes:
    spec: of the module; see `vq_jax.config.registry`.
    num_classes: 0 for an unconditional prior.
    null_class: whether there is a label for no class.
    grid: (h, w) of the tokens.
    sampling: section `sampling` of its card: how its authors sample it.
    rules: what becomes of its arrays.
  """

  spec: Mapping[str, Any]
  num_classes: int
  grid: tuple[int, int]
  sampling: Mapping[str, Any]
  rules: tuple[Rule, ...]
  null_class: bool = False


def square(tokens: int) -> tuple[int, int]:
  """Returns the square grid of so many tokens.

  Raises:
    ConvertError: if there is none.
  """
  side = math.isqrt(max(tokens, 0))
  if not side or side * side != tokens:
    raise errors.ConvertError(f'{tokens} tokens make no square picture')
  return (side, side)
