"""Errors and warnings of the conversion."""


class ConvertError(ValueError):
  """A file is not of the given kind, or does not fit the architecture."""


class ConvertWarning(UserWarning):
  """Weights were not at their usual location in a file."""
