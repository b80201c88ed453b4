"""The classes that a user asks for, by number or by name."""

import difflib
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from vq_jax import checks
from vq_jax.utils import fields


def from_request(
  labels: Any, num: int | None, model: Any
) -> tuple[np.ndarray | None, int]:
  """Returns one class per image, int32 [num] or None, and their number.

  Args:
    labels: one class per image, or one for all, by number from 0 or by name; by
      default the classes follow one another.
    num: how many images, if `labels` does not say; 16 by default.
    model: a `vq_jax.Model` with a prior.

  Raises:
    ValueError: if the labels do not fit.
  """
  classes = model.vocab.num_classes  # 0 for a prior without
  num = None if num is None else checks.checked_num(num)
  if labels is None:
    num = 16 if num is None else num
    return (np.arange(num) % classes if classes else None), num
  if not classes:
    raise ValueError('this prior knows no classes; leave labels out.')
  labels = indices(labels, classes, model.config['data']['class_names'])
  if labels.ndim == 0:
    labels = np.full(1 if num is None else num, labels)
  num = len(labels) if num is None and labels.ndim == 1 else num
  if not labels.size or labels.shape != (num,):
    raise ValueError(
      f'labels must be one class per image, [{num or "num"}]; got '
      f'{labels.shape}.'
    )
  return labels, checks.checked_num(num)


def indices(labels: Any, classes: int, names: Sequence[str]) -> np.ndarray:
  """Returns the numbers of classes, int32 of the shape of the labels.

  Args:
    labels: whole numbers from 0, or names, or a sequence of both.
    classes: how many there are.
    names: of the classes. They are compared in Unicode's composed form.

  Raises:
    ValueError: if a label is neither, or there is no such class.
  """
  if _has(labels, str) and not _has(labels, (tuple, list, np.ndarray)):
    return np.array([indices(x, classes, names) for x in labels])
  found = _as_array(labels)
  if found.dtype.kind == 'U':
    numbers = {unicodedata.normalize('NFC', n): i for i, n in enumerate(names)}
    for name in found.ravel():
      if unicodedata.normalize('NFC', str(name)) not in numbers:
        raise ValueError(no_class(str(name), names))
    found = np.array(
      [numbers[unicodedata.normalize('NFC', str(n))] for n in found.ravel()]
    ).reshape(found.shape)
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


def _has(labels: Any, kinds: type | tuple[type, ...]) -> bool:
  """Returns whether labels are a sequence that has one of the kinds in it."""
  several = isinstance(labels, tuple | list)
  return several and any(isinstance(label, kinds) for label in labels)


def _as_array(labels: Any) -> np.ndarray:
  """Returns labels as an array, of objects if they are ragged or bools."""
  try:
    found = np.asarray(labels)
  except ValueError:  # a ragged list
    return np.empty(0, object)
  return found.astype(object) if _has(labels, (bool, np.bool_)) else found


def no_class(name: str, names: Sequence[str]) -> str:
  """Says that there is no such class, and which there are."""
  close = difflib.get_close_matches(name, names, n=1)
  hint = f' Did you mean {close[0]!r}?' if close else ''
  return f'no class {name!r}.{hint} {_listed(names)}'


def _listed(names: Sequence[str]) -> str:
  known = ', '.join(f'{i} {name}' for i, name in enumerate(names[:20]))
  more = f', ... ({len(names)} in all)' if len(names) > 20 else ''
  return f'Classes: {known}{more}.'


def for_edit(label: Any, num: int, model: Any) -> np.ndarray | None:
  """Returns one class per picture, int32 [num], or None without classes.

  Args:
    label: one for all, int [num], or None: the null class.
    num: how many pictures.
    model: a `vq_jax.Model` with a prior.

  Raises:
    ValueError: if the label does not fit, or there is none and no null class.
  """
  classes = model.vocab.num_classes
  if label is not None or not classes:
    return from_request(label, num, model)[0]
  levels = [model]
  while levels[-1].coarser is not None:
    levels.append(levels[-1].coarser)
  if not all(level.vocab.null_class for level in levels):
    raise ValueError(
      f'this prior has {classes} classes and no null class, so it must be told '
      'what it draws; give a label.'
    )
  return np.full(num, model.vocab.null_label, np.int32)
