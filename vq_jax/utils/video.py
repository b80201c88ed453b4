"""Video files, written with ffmpeg or, as GIF and WebP, with Pillow."""

import os
import pathlib
from collections.abc import Iterable

import numpy as np

from vq_jax.utils import images
from vq_jax.utils import paths

_VIDEOS = ('.mp4', '.mov', '.mkv', '.webm')


def check_path(path: str | os.PathLike, *, channels: int = 3) -> None:
  """Checks, before a long computation, that a video can be written.

  Args:
    path: the file, such as film.mp4 or film.gif.
    channels: number of channels of the frames.

  Raises:
    ValueError: if the suffix is unknown, or ffmpeg is missing.
    OSError: if the path cannot be written.
  """
  suffix = pathlib.Path(path).suffix.lower()
  if suffix not in _VIDEOS:
    if suffix not in ('.gif', '.webp', '.png'):
      raise ValueError(
        f'a video cannot be written as {os.fspath(path)!r}; its suffix must be '
        f'one of {" ".join(_VIDEOS)} .gif .webp .png.'
      )
    images.check_image_path(path, channels=channels, animated=True)
    return
  paths.check_file(path)
  _import_ffmpeg(suffix)


def write(
  path: str | os.PathLike, frames: Iterable[np.ndarray], *, fps: float = 15.0
) -> None:
  """Writes a video atomically.

  Args:
    path: the file; see `check_path`. For mp4 and its like the frames are given
      to ffmpeg one by one.
    frames: uint8 [H, W, C] each, of one shape, C 1 or 3.
    fps: frames per second.

  Raises:
    ValueError: if ffmpeg fails; see also `check_path`.
  """
  check_path(path)
  suffix = pathlib.Path(path).suffix.lower()
  if suffix not in _VIDEOS:
    # The formats of Pillow need all frames at once, and whole milliseconds.
    images.save_animation(
      path, np.stack(list(frames)), milliseconds=max(1, round(1000 / fps))
    )
    return
  ffmpeg = _import_ffmpeg(suffix)
  writer = None
  with paths.replacing(path) as temporary:
    # ffmpeg takes the format from the suffix.
    working = temporary.with_name(temporary.name + suffix)
    try:
      for frame in frames:
        frame = _even(frame)
        if writer is None:
          writer = ffmpeg.write_frames(
            os.fspath(working), frame.shape[1::-1], fps=fps, macro_block_size=2
          )
          writer.send(None)
        writer.send(np.ascontiguousarray(frame))
      if writer is None:
        raise ValueError('a video needs at least one frame.')
      writer.close()
      working.replace(temporary)
    except OSError as error:
      raise ValueError(f'ffmpeg cannot write {path}: {error}') from error
    finally:
      working.unlink(missing_ok=True)


def _even(frame: np.ndarray) -> np.ndarray:
  """Returns a frame with three channels and even sides, for yuv420p."""
  height, width, channels = frame.shape
  frame = np.repeat(frame, 3 // channels, axis=-1)
  return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')


def _import_ffmpeg(suffix: str):
  try:
    import imageio_ffmpeg
  except ImportError as error:
    raise ValueError(
      f'a video with the suffix {suffix} needs ffmpeg: pip install '
      "'vq_jax[clip]', or write a .gif."
    ) from error
  return imageio_ffmpeg
