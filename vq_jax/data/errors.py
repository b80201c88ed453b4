"""What can be wrong with data, said in one line."""


class DataError(ValueError):
  """Data that cannot be used; the message says what to do about it."""


class UnreadableImage(DataError):
  """One image that cannot be decoded; the pipeline counts and skips it."""

  def __init__(self, name: str, reason: str):
    """Keeps the name of the image, under which it is counted."""
    super().__init__(f'{name} cannot be read as an image: {reason}')
    self.name = name
    self.reason = reason

  def __reduce__(self):
    """Crosses the border of a worker process."""
    return type(self), (self.name, self.reason)


class UnreadableImageWarning(UserWarning):
  """Names an image that is skipped."""


class FolderWarning(UserWarning):
  """Tells how a folder was read, and what in it was left out."""
