"""Components of Gradio for images, with limits on what they accept."""

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

  Gradio itself would decode images of any size and format, and download URLs
  that a client sends in place of a file. The functions of the instance are
  replaced, since Gradio writes files beside the module of a subclass.

  Args:
    limits: the limits of uploads.
    **options: the options of `gradio.Image`.

  Returns:
    a component whose value is uint8 [H, W, 3], or None.
  """
  upload = gr.Image(
    sources=['upload', 'webcam', 'clipboard'], type='filepath', **options
  )
  move_file = upload.async_move_resource_to_block_cache

  async def move_local_file(path: Any) -> str | None:
    if '://' in str(path):
      raise gr.Error('an image must be uploaded.', print_exception=False)
    return await move_file(path)

  def read(payload: Any) -> np.ndarray | None:
    if payload is None or not payload.path:
      return None
    try:
      return inputs.read_upload(payload.path, limits)
    except ValueError as error:
      raise gr.Error(str(error), print_exception=False) from error

  upload.async_move_resource_to_block_cache = move_local_file
  upload.preprocess = read
  return upload


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
