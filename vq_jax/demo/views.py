"""Images and tokens as HTML that needs no files of the server."""

import base64
import html
import math
from collections.abc import Sequence

import numpy as np

from vq_jax.demo import actions
from vq_jax.utils import image_encoding
from vq_jax.utils import images as images_lib

MAX_STEPS_SHOWN = 16
_UNUSED = 238  # the grey of the codes that do not occur
_MAX_NUMBERED = 16  # larger maps of tokens have no numbers


def sampled(steps: np.ndarray, *, columns: int | None = None) -> str:
  """Shows images, and how they came to be if there are several steps.

  Args:
    steps: uint8 [T, B, H, W, C].
    columns: the number of images in a row; by default the images are a square.
  """
  grids = np.stack([images_lib.grid(x, columns=columns) for x in steps])
  figures = [_figure(image(grids[-1], 'result', kind='result'), '')]
  strip = []
  if len(steps) > 1:
    chosen = np.unique(
      np.linspace(0, len(steps) - 1, MAX_STEPS_SHOWN).round().astype(int)
    )
    film = image_encoding.encode(grids[chosen], 'WEBP', milliseconds=300)
    tag = _tag(film, 'image/webp', grids.shape[1:], 'decoding steps', 'film')
    figures.append(_figure(tag, f'{len(steps)} decoding steps'))
    strip = [
      _figure(image(grids[t], f'step {t + 1}', kind='step'), f'{t + 1}')
      for t in chosen
    ]
  return (
    f'<div class="vq-output"><div class="vq-row">{"".join(figures)}</div>'
    f'<div class="vq-strip">{"".join(strip)}</div></div>'
  )


def reconstruction(found: actions.Reconstruction) -> str:
  """Shows an image, its reconstruction, and the maps and usage of tokens."""
  difference = np.abs(
    found.image.astype(np.int16) - found.decoded.astype(np.int16)
  ).astype(np.uint8)
  figures = [
    _figure(image(found.image, 'image', kind='input'), 'image'),
    _figure(
      image(found.decoded, 'reconstruction', kind='result'),
      f'reconstruction, PSNR {found.psnr:.1f} dB',
    ),
    _figure(
      image(255 - difference, 'difference', kind='difference'), 'difference'
    ),
  ]
  for each in found.maps:
    name = f' ({html.escape(each.name)})' if each.name else ''
    h, w = each.indices.shape
    figures.append(_figure(_map_tag(each), f'{h} x {w} tokens{name}'))
    share = each.used / each.codebook_size
    figures.append(
      _figure(
        image(usage_map(each), 'codebook', kind='usage'),
        f'{each.used:,} of {each.codebook_size:,} codes ({share:.1%}), '
        f'perplexity {each.perplexity:.1f}',
      )
    )
  return (
    f'<div class="vq-output"><div class="vq-row">{"".join(figures)}</div></div>'
  )


def token_map(tokens: actions.TokenMap) -> np.ndarray:
  """Returns the color of each token: uint8 [h, w, 3]."""
  return colors(tokens.indices)


def usage_map(tokens: actions.TokenMap) -> np.ndarray:
  """Returns the codebook as a square, grey where a code does not occur.

  Codebooks of more than 2^16 codes are shown by 2^16 equal parts.

  Returns:
    uint8 [side, side, 3]; code k is in row k // side, column k % side.
  """
  shown = min(tokens.codebook_size, 2**16)
  side = math.isqrt(shown - 1) + 1
  cells = np.full((side * side, 3), 255, np.uint8)
  cells[:shown] = _UNUSED
  used = np.unique(tokens.indices).astype(np.int64)
  cells[used * shown // tokens.codebook_size] = colors(used)
  return cells.reshape(side, side, 3)


def colors(indices: np.ndarray) -> np.ndarray:
  """Returns a color for each code, uint8 [..., 3], of bright distinct hues."""
  turns = (np.asarray(indices, np.float64) * 0.61803398875) % 1
  rings = 0.55 + 0.45 * ((np.asarray(indices, np.float64) * 0.7548776662) % 1)
  phases = turns[..., None] + np.array([0, 1 / 3, 2 / 3])
  waves = 0.5 + 0.5 * np.cos(2 * np.pi * phases)
  return np.round(255 * (0.25 + 0.75 * waves) * rings[..., None]).astype(
    np.uint8
  )


def image(pixels: np.ndarray, alt: str, *, kind: str) -> str:
  """Returns an `img` element with a PNG file in it.

  Args:
    pixels: uint8 [H, W, C].
    alt: the text for those who do not see the image.
    kind: the class of the element, `vq-` before it.
  """
  png = images_lib.encode_png(pixels)
  return _tag(png, 'image/png', pixels.shape, alt, kind)


def columns(parts: Sequence[tuple[str, str]]) -> str:
  """Shows the outputs of models side by side.

  Args:
    parts: the name of a model and its HTML; the name of a single one is left
      out.
  """
  if len(parts) == 1:
    return parts[0][1]
  cells = [
    f'<section class="vq-model"><h3>{html.escape(name)}</h3>{text}</section>'
    for name, text in parts
  ]
  return f'<div class="vq-compare">{"".join(cells)}</div>'


def _tag(
  data: bytes, mime: str, shape: Sequence[int], alt: str, kind: str
) -> str:
  """Returns an `img` element; small images are enlarged in whole pixels."""
  height, width = shape[:2]
  text = base64.b64encode(data).decode()
  return (
    f'<img class="vq-{kind}" alt="{html.escape(alt)}" width="{width}" '
    f'height="{height}" data-height="{height}" '
    f'src="data:{mime};base64,{text}">'
  )


def _figure(content: str, caption: str) -> str:
  text = f'<figcaption>{caption}</figcaption>' if caption else ''
  return f'<figure>{content}{text}</figure>'


def _map_tag(tokens: actions.TokenMap) -> str:
  """Returns the map of tokens, with their numbers if there is room."""
  h, w = tokens.indices.shape
  picture = token_map(tokens)
  if max(h, w) > _MAX_NUMBERED:
    return image(picture, 'tokens', kind='tokens')
  cells = []
  for (row, column), index in np.ndenumerate(tokens.indices):
    r, g, b = map(int, picture[row, column])
    ink = '#000' if 0.3 * r + 0.6 * g + 0.1 * b > 120 else '#fff'
    cells.append(
      f'<rect x="{column}" y="{row}" width="1.01" height="1.01" '
      f'fill="rgb({r},{g},{b})"/><text x="{column + 0.5}" y="{row + 0.5}" '
      f'fill="{ink}">{index}</text>'
    )
  return (
    f'<svg class="vq-tokens" role="img" aria-label="tokens" '
    f'viewBox="0 0 {w} {h}">{"".join(cells)}</svg>'
  )
