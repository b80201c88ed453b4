"""What goes wrong when a released checkpoint is read."""


class ConvertError(ValueError):
  """A file is not what its kind says, or does not fit the architecture."""


class ConvertWarning(UserWarning):
  """Weights were found elsewhere in a file than where they usually are."""
