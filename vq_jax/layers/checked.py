"""A base class of modules that validates their fields."""

import flax.linen as nn

from vq_jax.utils import fields


class CheckedModule(nn.Module):
  """A module that checks its fields against their annotations.

  The constructor raises ValueError if a field has the wrong type, is not finite
  or is out of range; see `vq_jax.utils.fields`.
  """

  def __post_init__(self):
    fields.check(self)
    super().__post_init__()
