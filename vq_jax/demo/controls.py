"""The controls of sampling, as far as they apply to the models of the page."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import gradio as gr

from vq_jax.demo import actions
from vq_jax.model import Model
from vq_jax.samplers import MaskGITSampler

Controls = Mapping[str, gr.components.Component]

_NONE = -1  # the value of the first entry, which is no class


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
  """What a user of some models can choose.

  Attributes:
    classes: the names of the classes; empty without classes.
    null_class: whether an image can be edited without a class.
    guidance: whether a model has classifier-free guidance.
    orders: the orders of decoding; empty without a MaskGIT.
    defaults: the values of the first model's sampler.
  """

  classes: tuple[str, ...]
  null_class: bool
  guidance: bool
  orders: tuple[str, ...]
  defaults: Mapping[str, Any]


def find_choices(models: Sequence[Model]) -> Choices:
  """Returns what a user of some models can choose."""
  levels = [level for model in models if model.prior for level in model.levels]
  masked = [x for x in levels if isinstance(x.sampler, MaskGITSampler)]
  orders = ['confidence', 'halton', 'random'] if masked else []
  if masked and all(level.critic is not None for level in masked):
    orders.append('critic')
  defaults: dict[str, Any] = {}
  for level in reversed([*levels, *masked]):
    names = {field.name for field in dataclasses.fields(actions.Settings)}
    values = dataclasses.asdict(level.sampler)
    defaults |= {name: x for name, x in values.items() if name in names}
  with_classes = [x for x in levels if x.prior.vocab.num_classes]
  return Choices(
    classes=models[0].info.class_names if with_classes else (),
    null_class=all(x.prior.vocab.null_class for x in with_classes),
    guidance=any(m.prior and actions.has_guidance(m) for m in models),
    orders=tuple(orders),
    defaults=defaults,
  )


def add(
  choices: Choices, *, first: str, num: int, name: str, folded: bool = False
) -> Controls:
  """Adds the controls to the page.

  Args:
    choices: what can be chosen.
    first: the first entry of the list of classes, which is none of them.
    num: the number of images at first.
    name: the start of the identifiers in the page.
    folded: whether the less common controls are hidden at first.

  Returns:
    name of a field of `actions.Settings` -> control.
  """
  controls: dict[str, gr.components.Component] = {}

  def put(field: str, kind: type, *args: Any, **options: Any) -> None:
    if kind is gr.Slider:
      options['buttons'] = []
    controls[field] = kind(*args, elem_id=f'{name}-{field}', **options)

  default = choices.defaults.get
  if choices.classes:
    entries = [(text, number) for number, text in enumerate(choices.classes)]
    entries = [(first, _NONE), *entries] if first else entries
    put('label', gr.Dropdown, entries, value=entries[0][1], label='Class')
  with gr.Row():
    put(
      'num', gr.Slider, 1, actions.MAX_IMAGES, num, step=1, label='Images',
      min_width=120,
    )  # fmt: skip
    put('seed', gr.Number, 0, precision=0, minimum=0, maximum=2**32 - 1,
        label='Seed', min_width=120)  # fmt: skip
  with gr.Row():
    if choices.orders:
      put('steps', gr.Slider, 1, actions.MAX_STEPS, default('steps', 8),
          step=1, label='Steps', min_width=120)  # fmt: skip
    if choices.guidance:
      put('guidance', gr.Slider, 0, 20, default('guidance', 0.0), step=0.25,
          label='Guidance', min_width=120)  # fmt: skip
  if not choices.defaults:
    return controls
  put('trace', gr.Checkbox, True, label='Show the decoding steps')
  with gr.Accordion('Temperature and order', open=not folded):
    put('temperature', gr.Slider, 0, 4, default('temperature', 1.0), step=0.05,
        label='Temperature of the tokens')  # fmt: skip
    if choices.orders:
      order = default('order')
      first_order = order if order in choices.orders else choices.orders[0]
      with gr.Row():
        put('order', gr.Dropdown, [*choices.orders], value=first_order,
            label='Order', min_width=120)  # fmt: skip
        put('choice_temperature', gr.Slider, 0, 100,
            default('choice_temperature', 4.5), step=0.5,
            label='Order noise', min_width=120)  # fmt: skip
  return controls


def settings(controls: Controls, values: Sequence[Any]) -> actions.Settings:
  """Returns the settings from the values of the controls, in their order."""
  found = dict(zip(controls, values, strict=True))
  if found.get('label') == _NONE:
    found['label'] = None
  return actions.Settings(**found)
