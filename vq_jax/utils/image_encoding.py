"""Encoding of images in the formats of Pillow."""

import io
import warnings

import numpy as np

_ICONS = ('ICNS', 'ICO')  # formats of fixed sizes, to which images are resized


def can_write(kind: str, channels: int, animated: bool) -> bool:
  """Returns whether Pillow can write such images; tries a small one."""
  from PIL import Image

  table = Image.SAVE_ALL if animated else Image.SAVE
  if kind not in table or kind in _ICONS:
    return False
  frames = np.zeros((1 + animated, 32, 32, channels), np.uint8)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # of formats that are deprecated
      encode(frames, kind)
  except (OSError, ValueError, KeyError):
    return False
  return True


def encode(
  frames: np.ndarray,
  kind: str,
  *,
  comment: str | None = None,
  milliseconds: int = 250,
) -> bytes:
  """Encodes images uint8 [T, H, W, C] with 1, 3 or 4 channels as one file."""
  from PIL import Image  # not needed to train or to sample
  from PIL import PngImagePlugin

  if frames.shape[-1] == 1:
    frames = frames[..., 0]
  first, *rest = [Image.fromarray(frame) for frame in frames]
  options: dict[str, object] = {}
  if kind == 'JPEG':
    options |= {'quality': 95, 'subsampling': 0}
  if kind in ('WEBP', 'AVIF'):
    options |= {'quality': 95}
  if comment is not None and kind == 'PNG':
    texts = PngImagePlugin.PngInfo()
    texts.add_text('Comment', comment)
    options['pnginfo'] = texts
  elif comment is not None and kind in ('JPEG', 'GIF'):
    options['comment'] = comment.encode()
  if rest:
    options |= {
      'save_all': True,
      'append_images': rest,
      'duration': [milliseconds] * len(rest) + [8 * milliseconds],
      'loop': 0,
    }
  buffer = io.BytesIO()
  first.save(buffer, kind, **options)
  return buffer.getvalue()
