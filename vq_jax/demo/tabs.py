"""The tabs of the page: sampling, editing, reconstruction."""

from typing import Any

import gradio as gr
import numpy as np

from vq_jax.demo import actions
from vq_jax.demo import components
from vq_jax.demo import controls
from vq_jax.demo import inputs
from vq_jax.demo import views
from vq_jax.demo.page import Page

_SIDES = ('left', 'right', 'top', 'bottom')


def add_sampling(page: Page) -> None:
  """Adds the controls and the output of new images."""
  models = page.samplers
  choices = controls.find_choices(list(models.values()))
  with gr.Row():
    with gr.Column(scale=2, min_width=340):
      fields = controls.add(
        choices, first='all classes in turn', num=4, name='sample'
      )
      button = gr.Button('Sample', variant='primary', elem_id='sample-run')
    with gr.Column(scale=3, min_width=400):
      output = page.output('sample-output')

  def run(*values: Any) -> str:
    settings = controls.settings(fields, values)
    return page.show(
      models,
      lambda model: actions.sample(model, settings),
      views.sampled,
      settings,
      'sample',
    )

  page.connect(button.click, run, [*fields.values()], output)


def add_editing(page: Page) -> None:
  """Adds an image to paint on, and the controls and output of its edits."""
  choices = controls.find_choices(list(page.editors.values()))
  with gr.Row():
    with gr.Column(scale=3, min_width=300):
      upload = components.make_upload(
        page.limits, label='Image', height=170, elem_id='edit-upload'
      )
      random = gr.Button('Sample an image to edit', elem_id='edit-random')
      painter = components.make_painter(
        page.info.image_shape,
        elem_id='edit-painter',
        elem_classes=page.classes,
      )
    with gr.Column(scale=3, min_width=320):
      fields = controls.add(
        choices,
        first='no class' if choices.null_class else '',
        num=2,
        name='edit',
        folded=True,
      )
      inpaint = gr.Button(
        'Inpaint the painted part', variant='primary', elem_id='inpaint-run'
      )
      with gr.Accordion('Outpaint: pixels to add at each side', open=True):
        sides = _add_sides(page)
        outpaint = gr.Button('Outpaint', elem_id='outpaint-run')
    with gr.Column(scale=4, min_width=380):
      output = page.output('edit-output')
  _connect_sources(page, fields, upload, random, painter)
  _connect_edits(page, fields, painter, sides, (inpaint, outpaint), output)


def _connect_sources(
  page: Page,
  fields: controls.Controls,
  upload: gr.Image,
  random: gr.Button,
  painter: gr.HTML,
) -> None:
  """Puts an uploaded or a sampled image into the painter."""
  model = next(iter(page.editors.values()))

  def choose(image: np.ndarray | None) -> str | None:
    if image is None:
      return None
    return inputs.encode_painting(inputs.fit(image, page.info.image_shape))

  def sample(*values: Any) -> str:
    settings = actions.for_one_image(controls.settings(fields, values))
    with page.running(settings, 'sample'):
      return inputs.encode_painting(actions.sample(model, settings)[-1, 0])

  page.connect(upload.change, choose, [upload], painter)
  page.connect(random.click, sample, [*fields.values()], painter)


def _add_sides(page: Page) -> list[gr.Slider]:
  """Adds the numbers of pixels that outpainting adds at each side."""
  height, width, _ = page.info.image_shape
  stride = next(iter(page.editors.values())).autoencoder.stride
  sliders = []
  for pair in (_SIDES[:2], _SIDES[2:]):
    with gr.Row():
      for side in pair:
        size = width if side in ('left', 'right') else height
        first = size // 2 // stride * stride if side == 'right' else 0
        slider = gr.Slider(
          0,
          size,
          first,
          step=stride,
          label=side.capitalize(),
          min_width=110,
          buttons=[],
          elem_id=f'outpaint-{side}',
        )
        sliders.append(slider)
  return sliders


def _connect_edits(
  page: Page,
  fields: controls.Controls,
  painter: gr.HTML,
  sides: list[gr.Slider],
  buttons: tuple[gr.Button, gr.Button],
  output: gr.HTML,
) -> None:
  """Lets the buttons of inpainting and outpainting run."""

  def inpaint(text: str | None, *values: Any) -> str:
    settings = controls.settings(fields, values)
    painting = inputs.decode_painting(text, page.info.image_shape)
    return page.show(
      page.editors,
      lambda model: actions.inpaint(model, painting, settings),
      views.sampled,
      settings,
      'inpaint',
    )

  def outpaint(text: str | None, *values: Any) -> str:
    pixels = dict(zip(_SIDES, map(int, values[:4]), strict=True))
    settings = controls.settings(fields, values[4:])
    painting = inputs.decode_painting(text, page.info.image_shape)
    return page.show(
      page.editors,
      lambda model: actions.outpaint(model, painting, pixels, settings),
      views.sampled,
      settings,
      'outpaint',
      *pixels.values(),
    )

  given = [*fields.values()]
  page.connect(buttons[0].click, inpaint, [painter, *given], output)
  page.connect(buttons[1].click, outpaint, [painter, *sides, *given], output)


def add_reconstruction(page: Page) -> None:
  """Adds the upload of an image, and its reconstruction and tokens."""
  with gr.Row():
    with gr.Column(scale=2, min_width=340):
      upload = components.make_upload(
        page.limits, label='Image', height=300, elem_id='rec-upload'
      )
      button = gr.Button('Reconstruct', variant='primary', elem_id='rec-run')
    with gr.Column(scale=3, min_width=400):
      output = page.output('rec-output')

  def run(image: np.ndarray | None) -> str:
    if image is None:
      raise ValueError('choose an image first.')
    fitted = inputs.fit(image, page.info.image_shape)
    return page.show(
      page.models,
      lambda model: actions.reconstruct(model, fitted),
      views.reconstruction,
      actions.Settings(),
      'reconstruct',
    )

  page.connect(button.click, run, [upload], output)
