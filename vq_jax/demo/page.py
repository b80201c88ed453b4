"""What the tabs of the page share."""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import gradio as gr

from vq_jax.demo import actions
from vq_jax.demo import inputs
from vq_jax.demo import programs
from vq_jax.demo import views
from vq_jax.model import Model
from vq_jax.utils import console

_SMALL = 128  # pixels; smaller images are enlarged without smoothing
_DEVICE = 'device'  # the events that share the device run one after the other


class Page:
  """The models of the page, and how its buttons run actions on them.

  Attributes:
    models: name -> model.
    limits: the limits of what clients may send.
    info: facts about the models, which have equal images and classes.
    classes: the style classes of elements with images.

  Args:
    models: name -> model.
    limits: the limits.

  Raises:
    ValueError: if the models differ in the size or the classes of their images.
  """

  def __init__(self, models: Mapping[str, Model], limits: inputs.Limits):
    """Checks the models."""
    _check(models)
    self.models = dict(models)
    self.limits = limits
    self.info = next(iter(models.values())).info
    small = max(self.info.image_shape[:2]) <= _SMALL
    self.classes = ['vq-small'] if small else []
    self._programs = programs.Programs()

  @property
  def samplers(self) -> dict[str, Model]:
    """The models that generate images, by name."""
    return {n: m for n, m in self.models.items() if actions.can_sample(m)}

  @property
  def editors(self) -> dict[str, Model]:
    """The models with a prior, by name."""
    return {n: m for n, m in self.models.items() if m.prior is not None}

  def output(self, name: str) -> gr.HTML:
    """Adds an empty output to the page."""
    return gr.HTML(
      elem_id=name,
      elem_classes=self.classes,
      apply_default_css=False,
      min_height=320,
    )

  def connect(
    self,
    event: Callable[..., Any],
    function: Callable[..., Any],
    given: Sequence[gr.components.Component],
    output: gr.components.Component,
  ) -> None:
    """Runs a function on an event; its errors are shown as one line.

    Args:
      event: such as `button.click`.
      function: the values of `given` -> the value of `output`.
      given: components.
      output: a component.
    """

    def run(*values: Any) -> Any:
      try:
        return function(*values)
      except (OSError, TypeError, ValueError) as error:
        raise gr.Error(str(error), print_exception=False) from error
      except (MemoryError, RuntimeError) as error:
        if not console.is_out_of_memory(error):
          raise
        message = 'there is not enough memory for so many images.'
        raise gr.Error(message, print_exception=False) from error

    event(
      run,
      [*given],
      output,
      concurrency_id=_DEVICE,
      concurrency_limit=1,
      api_visibility='private',
    )

  def show(
    self,
    models: Mapping[str, Model],
    act: Callable[[Model], Any],
    view: Callable[[Any], str],
    settings: actions.Settings,
    *kind: Hashable,
  ) -> str:
    """Runs an action on models, and returns the HTML of their results.

    Args:
      models: name -> model.
      act: model -> result.
      view: result -> HTML.
      settings: the settings of the action.
      *kind: what its compiled programs depend on besides the settings.
    """
    parts = []
    for name, model in models.items():
      start = time.perf_counter()
      with self.running(settings, *kind):
        text = view(act(model))
      seconds = time.perf_counter() - start
      parts.append((name, f'{text}<p class="vq-note">{seconds:.2f} s</p>'))
    return views.columns(parts)

  def running(
    self, settings: actions.Settings, *kind: Hashable
  ) -> contextlib.AbstractContextManager[None]:
    """Returns the context in which an action runs; see `programs`."""
    label = None if settings.label is None else 0  # of any class
    shape = dataclasses.replace(settings, seed=0, label=label)
    return self._programs.running(shape, *kind)


def _check(models: Mapping[str, Model]) -> None:
  """Raises ValueError unless one choice of the user applies to all models."""
  if not models:
    raise ValueError('the page needs at least one model.')
  first, *others = (model.info for model in models.values())
  for other in others:
    if other.image_shape != first.image_shape:
      raise ValueError(
        'runs that are compared must have images of one shape; got '
        f'{first.image_shape} and {other.image_shape}.'
      )
    if other.class_names != first.class_names:
      raise ValueError(
        'runs that are compared must have the same classes; got '
        f'{", ".join(first.class_names)[:80]} and '
        f'{", ".join(other.class_names)[:80]}.'
      )
