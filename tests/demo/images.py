"""Image files and HTML for the tests of the page."""

import base64
import io
import re
import struct
import zlib

import numpy as np
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  shown = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
  Image.fromarray(shown).save(buffer, 'PNG')
  return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
  """A PNG file of that size, in its header alone."""

  def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return (
      struct.pack('>I', len(data)) + kind + data + struct.pack('>I', checksum)
    )

  header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
  parts = {b'IHDR': header, b'IDAT': zlib.compress(b'\0' * 64), b'IEND': b''}
  return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in parts.items())


def shown(html: str, kind: str) -> list[np.ndarray]:
  """The images of a kind in HTML: uint8 [H, W] or [H, W, C]."""
  pattern = rf'<img class="vq-{kind}"[^>]* src="data:image/png;base64,([^"]+)"'
  return [
    np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    for text in re.findall(pattern, html)
  ]
