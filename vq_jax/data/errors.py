"""Errors and warnings of data."""


class DataError(ValueError):
  """Data cannot be used; the message says what to do."""


class UnreadableImage(DataError):
  """An image cannot be decoded; pipelines count it and skip it.

  Attributes:
    name: name of the image.
    reason: why it cannot be decoded.
  """

  def __init__(self, name: str, reason: str):
    """Sets the attributes."""
    super().__init__(f'{name} cannot be read as an image: {reason}')
    self.name = name
    self.reason = reason

  def __reduce__(self):
    """Supports pickling, with which worker processes send errors."""
    return type(self), (self.name, self.reason)


class UnreadableImageWarning(UserWarning):
  """An image was skipped because it cannot be decoded."""


class WorkerWarning(UserWarning):
  """A process that reads data has died, and was started again."""


class FolderWarning(UserWarning):
  """A folder is ambiguous, or some of its files were skipped."""
