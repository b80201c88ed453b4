"""The classes that a user asks for, by number or by name."""

import difflib
import unicodedata
from collections.abc import Sequence

import numpy as np

from vq_jax.inference import validate
from vq_jax.inference.info import Pipeline
from vq_jax.inference.types import Labels
from vq_jax.utils import fields


def for_generation(
  labels: Labels, num: int | None, pipeline: Pipeline
) -> tuple[np.ndarray | None, int]:
  """Returns the class of each image of a request, and their number.

  Args:
    labels: one class per image, or one for all, by number from 0 or by name; by
      default all classes in turn.
    num: the number of images; by default the number of labels, or 16.
    pipeline: the model.

  Returns:
    int32 [num], or None for a prior without classes; and num.

  Raises:
    ValueError: if the labels do not fit the number or the classes.
  """
  classes = pipeline.num_classes
  num = None if num is None else validate.check_num(num)
  if labels is None:
    num = 16 if num is None else num
    return (np.arange(num) % classes if classes else None), num
  if not classes:
    raise ValueError('this prior has no classes; leave labels out.')
  labels = class_indices(labels, classes, pipeline.info.class_names)
  if labels.ndim == 0:
    labels = np.full(1 if num is None else num, labels)
  num = len(labels) if num is None and labels.ndim == 1 else num
  if not labels.size or labels.shape != (num,):
    raise ValueError(
      f'labels must be one class per image, [{num or "num"}]; got '
      f'{labels.shape}.'
    )
  return labels, validate.check_num(len(labels))


def for_edit(label: Labels, num: int, pipeline: Pipeline) -> np.ndarray | None:
  """Returns the class of each edited image.

  Args:
    label: one class for all images, or one class per image; None is the null
      class.
    num: the number of images.
    pipeline: the model.

  Returns:
    int32 [num], or None for a prior without classes.

  Raises:
    ValueError: if the label does not fit, or is None and a prior has no null
      class.
  """
  classes = pipeline.num_classes
  if label is not None or not classes:
    return for_generation(label, num, pipeline)[0]
  vocabs = [level.prior.vocab for level in pipeline.levels]
  if not all(vocab.null_class for vocab in vocabs):
    raise ValueError(
      f'this prior has {classes} classes and no null class; give a label.'
    )
  return np.full(num, vocabs[-1].null_label, np.int32)


def class_indices(
  labels: Labels, classes: int, names: Sequence[str]
) -> np.ndarray:
  """Returns the numbers of classes.

  Args:
    labels: numbers from 0, or names, or a sequence of both.
    classes: the number of classes.
    names: the names of the classes, which are compared in Unicode's composed
      form.

  Returns:
    int32 of the shape of the labels.

  Raises:
    ValueError: if a label is neither a number nor a name, or there is no such
      class.
  """
  if (
    isinstance(labels, tuple | list)
    and _contains(labels, str)
    and not _contains(labels, (tuple, list, np.ndarray))
  ):
    return np.array([class_indices(x, classes, names) for x in labels])
  found = _as_array(labels)
  if found.dtype.kind == 'U':
    numbers = {_composed(name): i for i, name in enumerate(names)}
    wanted = [_composed(str(name)) for name in found.ravel()]
    for name in wanted:
      if name not in numbers:
        raise ValueError(_no_such_class(name, names))
    found = np.array([numbers[name] for name in wanted]).reshape(found.shape)
  if found.dtype.kind not in 'iu':
    raise ValueError(
      'labels must be classes, by number (whole, from 0) or by name; got '
      f'{fields.format_value(labels)}.'
    )
  if found.size and not 0 <= found.min() <= found.max() < classes:
    raise ValueError(
      f'labels must lie in [0, {classes}); got '
      f'{found.min() if found.min() < 0 else found.max()}. {_listed(names)}'
    )
  return found.astype(np.int32)


def _composed(name: str) -> str:
  return unicodedata.normalize('NFC', name)


def _contains(labels: Labels, kinds: type | tuple[type, ...]) -> bool:
  """Returns whether labels are a sequence with an element of some types."""
  return isinstance(labels, tuple | list) and any(
    isinstance(label, kinds) for label in labels
  )


def _as_array(labels: Labels) -> np.ndarray:
  """Returns labels as an array, of objects if they are ragged or bools."""
  try:
    found = np.asarray(labels)
  except ValueError:  # a ragged list
    return np.empty(0, object)
  return found.astype(object) if _contains(labels, (bool, np.bool_)) else found


def _no_such_class(name: str, names: Sequence[str]) -> str:
  close = difflib.get_close_matches(name, names, n=1)
  hint = f' Did you mean {close[0]!r}?' if close else ''
  return f'no class {name!r}.{hint} {_listed(names)}'


def _listed(names: Sequence[str]) -> str:
  known = ', '.join(f'{i} {name}' for i, name in enumerate(names[:20]))
  more = f', ... ({len(names)} in all)' if len(names) > 20 else ''
  return f'Classes: {known}{more}.'
