"""Components of Gradio for images, with limits on what they accept."""

import contextlib
import pathlib
from typing import Any

import gradio as gr
import numpy as np

from vq_jax.demo import inputs

_FOLDER = pathlib.Path(__file__).parent
_TEMPLATE = """
<div class="vq-painter vq-empty">
  <div class="vq-paint-stack" style="aspect-ratio: {width} / {height}">
    <canvas class="vq-paint-image" width="{width}" height="{height}"></canvas>
    <canvas class="vq-paint-mask" width="{width}" height="{height}"
      aria-label="paint the part to sample anew"></canvas>
    <div class="vq-paint-hint">Choose or sample an image,<br>then paint over
      the part to sample anew.</div>
  </div>
  <div class="vq-paint-tools">
    <button type="button" class="vq-paint-brush vq-on">Brush</button>
    <button type="button" class="vq-paint-eraser">Eraser</button>
    <label>Size <input type="range" class="vq-paint-size" min="1" max="{most}"
      value="{brush}" aria-label="brush size"></label>
    <button type="button" class="vq-paint-invert">Invert</button>
    <button type="button" class="vq-paint-clear">Clear</button>
  </div>
</div>
"""


def make_upload(limits: inputs.Limits, **options: Any) -> gr.Image:
  """Makes an image from a file, the camera or the clipboard, with limits.

  Gradio itself would decode images of any size and format. The function of the
  instance is replaced, since Gradio writes files beside the module of a
  subclass.

  Args:
    limits: the limits of uploads.
    **options: the options of `gradio.Image`.

  Returns:
    a component whose value is uint8 [H, W, 3], or None.
  """
  upload: Any = gr.Image(  # one of its methods is replaced
    sources=['upload', 'webcam', 'clipboard'], type='filepath', **options
  )

  def read(payload: Any) -> np.ndarray | None:
    if payload is None or not payload.path:
      return None
    check_uploaded(payload.path, upload.GRADIO_CACHE)
    try:
      return inputs.read_upload(payload.path, limits)
    except ValueError as error:
      raise gr.Error(str(error), print_exception=False) from error

  vars(upload).update(preprocess=read)
  return upload


def restrict_files(blocks: gr.Blocks, folder: str) -> None:
  """Lets all components take files from the folder of uploads alone.

  Any component may be sent a file, by its path on the server or by a URL.
  Gradio downloads URLs, and it does not check the paths of a mounted page.

  Args:
    blocks: the page.
    folder: the folder of uploads.
  """

  async def keep(path: Any) -> str:
    check_uploaded(path, folder)
    return str(path)

  blocks.has_launched = True  # then Gradio checks the paths, too
  block: Any  # one of its methods is replaced
  for block in blocks.blocks.values():
    vars(block).update(async_move_resource_to_block_cache=keep)


def check_uploaded(path: Any, folder: str) -> None:
  """Raises `gradio.Error` unless a file is in the folder of uploads."""
  inside = False
  with contextlib.suppress(OSError, RuntimeError, ValueError):
    found = pathlib.Path(str(path)).resolve()
    inside = found.is_relative_to(pathlib.Path(folder).resolve())
  if not inside:
    raise gr.Error('an image must be uploaded.', print_exception=False)


def make_painter(shape: tuple[int, int, int], **options: Any) -> gr.HTML:
  """Makes an image on which a mask is painted.

  Its value is the text of `inputs.encode_painting`.

  Args:
    shape: (H, W, C) of the images of the model.
    **options: the options of `gradio.HTML`.
  """
  height, width, _ = shape
  least = min(height, width)
  return gr.HTML(
    html_template=_TEMPLATE.format(
      height=height, width=width, most=max(2, least // 2), brush=least // 5 or 1
    ),
    js_on_load=(_FOLDER / 'painter.js').read_text(),
    apply_default_css=False,
    **options,
  )


def page_css() -> str:
  """Returns the style sheet of the page."""
  return (_FOLDER / 'page.css').read_text()
