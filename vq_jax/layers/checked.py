"""The base class of modules whose numbers users set."""

import flax.linen as nn

from vq_jax.utils import fields


class CheckedModule(nn.Module):
  """A module that checks its fields against their annotations.

  It raises ValueError when it is made with a number of another type, not
  finite, or out of range; see `vq_jax.utils.fields`.
  """

  def __post_init__(self):
    fields.check(self)
    super().__post_init__()
