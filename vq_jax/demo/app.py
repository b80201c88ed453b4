"""The page with its tabs."""

import html
from collections.abc import Mapping

import gradio as gr

from vq_jax.demo import inputs
from vq_jax.demo import tabs
from vq_jax.demo.page import Page
from vq_jax.model import Model

_KEEP_FILES = (600, 3600)  # each 10 minutes, files of an hour ago are deleted


def build(
  models: Mapping[str, Model], limits: inputs.Limits | None = None
) -> gr.Blocks:
  """Builds the page.

  Args:
    models: name -> model; the outputs of several are shown side by side.
    limits: the limits of what clients may send.

  Returns:
    the page, for `server.serve`.

  Raises:
    ValueError: if the models differ in the size or the classes of their images.
  """
  page = Page(models, limits or inputs.Limits())
  with gr.Blocks(
    title='vq_jax',
    analytics_enabled=False,
    fill_width=True,
    delete_cache=_KEEP_FILES,
  ) as blocks:
    gr.HTML(_title(page), apply_default_css=False)
    with gr.Tabs():
      if page.samplers:
        with gr.Tab('Sample'):
          tabs.add_sampling(page)
      if page.editors:
        with gr.Tab('Edit'):
          tabs.add_editing(page)
      with gr.Tab('Reconstruct'):
        tabs.add_reconstruction(page)
  blocks.queue(max_size=page.limits.max_waiting, api_open=False)
  return blocks


def _title(page: Page) -> str:
  """Returns the heading: the names of the models, and their images."""
  names = ' and '.join(f'<code>{html.escape(n)}</code>' for n in page.models)
  size = ' x '.join(map(str, page.info.image_shape))
  return (
    f'<div class="vq-title"><h1>vq_jax</h1><p>{names}: images of {size}, '
    f'trained on {html.escape(page.info.data.source)}</p></div>'
  )
