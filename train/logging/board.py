"""TensorBoard events, written in the thread that logs them."""

import pathlib
import time

import numpy as np

from vq_jax.utils import packages

_FLUSH_SECONDS = 30


class Board:
  """Writes the events of a run.

  tensorboardX writes in a thread. When its disk is full, that thread ends and
  the training waits for it forever; here, the error reaches the training.

  Example:
    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> board = Board(folder, start=0)
    >>> board.add_scalar('train/loss', 0.5, step=1)
    >>> board.close()
    >>> len(list(folder.glob('events.*')))
    1
  """

  def __init__(self, folder: pathlib.Path, start: int):
    """Starts a file of events after step `start`; hides earlier ones after it.

    Args:
      folder: where the files of events are.
      start: number of steps that are done.
    """
    with packages.required_for('writing events for TensorBoard'):
      # Importing it takes half a second.
      from tensorboardX import event_file_writer
      from tensorboardX.proto import event_pb2

    folder.mkdir(parents=True, exist_ok=True)
    self._event = event_pb2.Event
    self._events = event_file_writer.EventsWriter(str(folder / 'events'))
    self._flushed = time.monotonic()
    begin = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(start + 1, session_log=begin)

  def add_scalar(self, name: str, value: float, step: int) -> None:
    """Writes a number."""
    from tensorboardX import summary

    self._write(step, summary=summary.scalar(name, value))

  def add_image(self, name: str, image: np.ndarray, step: int) -> None:
    """Writes an image, uint8 [H, W, C]."""
    from tensorboardX import summary

    self._write(step, summary=summary.image(name, image, dataformats='HWC'))

  def close(self) -> None:
    """Closes the file."""
    self._events.close()

  def _write(self, step: int, **content) -> None:
    event = self._event(wall_time=time.time(), step=step, **content)
    self._events.write_event(event)
    if time.monotonic() - self._flushed > _FLUSH_SECONDS:
      self._events.flush()
      self._flushed = time.monotonic()
