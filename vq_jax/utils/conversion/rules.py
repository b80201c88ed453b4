"""Conversion of arrays by a table of rules."""

import dataclasses
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import numpy as np

from vq_jax.utils import trees
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import unpickling

Transform = Callable[[np.ndarray], np.ndarray]
# Name of an array in its module of the checkpoint -> its names in our module,
# each with a transform of the array.
Leaves = Mapping[str, tuple[tuple[str, Transform], ...]]


def same(x: np.ndarray) -> np.ndarray:
  """Returns the array unchanged."""
  return x


def conv_kernel(kernel: np.ndarray) -> np.ndarray:
  """Transposes [O, I, h, w] to [h, w, I, O]."""
  return kernel.transpose(2, 3, 1, 0)


def dense_kernel(kernel: np.ndarray) -> np.ndarray:
  """Transposes [O, I], or a 1x1 convolution [O, I, 1, 1], to [I, O]."""
  if kernel.shape[2:] not in ((), (1, 1)):
    raise ValueError(f'{kernel.shape} is no kernel of a 1x1 convolution')
  return kernel.reshape(kernel.shape[:2]).T


_BIAS = (('bias', same),)
NORM: Leaves = {'weight': (('scale', same),), 'bias': _BIAS}
CONV: Leaves = {'weight': (('kernel', conv_kernel),), 'bias': _BIAS}
DENSE: Leaves = {'weight': (('kernel', dense_kernel),), 'bias': _BIAS}
EMBEDDING: Leaves = {'weight': (('codebook', same),)}


@dataclasses.dataclass(frozen=True)
class Rule:
  r"""The conversion of the arrays of a module.

  Attributes:
    pattern: regular expression for the full name of the module in the
      checkpoint.
    target: name of our module, with references (`\1`) to the groups of the
      pattern. `blocks[3]` is the fourth slice of stacked arrays; '' is the
      model itself.
    leaves: the arrays of the module that are converted.
  """

  pattern: str
  target: str
  leaves: Leaves


def convert(
  state: Mapping[str, unpickling.Tensor | np.ndarray],
  rules: Iterable[Rule],
  shapes: Mapping[str, Any],
  *,
  source: str,
  ignored: str = '',
) -> dict[str, Any]:
  """Converts a checkpoint.

  Args:
    state: name -> array of the checkpoint.
    rules: table of rules, of which the first that matches a name applies.
    shapes: the variables of our module, or their shapes.
    source: description of the checkpoint, for the message.
    ignored: regular expression for names that are not converted.

  Returns:
    variables, float32, with the names and shapes of `shapes`.

  Raises:
    ConvertError: if a name matches no rule, is missing, or has another shape;
      the message lists all of them.
  """
  rules, problems, found = tuple(rules), [], {}
  for name in sorted(state):
    if re.fullmatch(ignored, name):
      continue
    targets = _targets(name, rules)
    if not targets:
      problems.append(f'  ? {name}: no rule knows this name')
    for target, transform in targets:
      if target in found:
        problems.append(f'  ? {name}: {target} has been given already')
      try:
        found[target] = _array(state[name], transform)
      except ValueError as error:
        problems.append(f'  ? {name}: {error}')
  arrays = _stack(found, problems)
  variables = {}
  try:
    variables = trees.merge_strict(
      shapes,
      trees.unflatten({f'params/{n}': array for n, array in arrays.items()}),
      source='what was read',
    )
  except ValueError as error:
    problems.append(str(error))
  if problems:
    raise errors.ConvertError(
      f'{source} cannot be converted:\n' + '\n'.join(problems)
    )
  return variables


def _targets(name: str, rules: Iterable[Rule]) -> list[tuple[str, Transform]]:
  """Returns our names for an array of the checkpoint, and their transforms."""
  match = re.fullmatch(r'(?:(.*)[./])?(.*)', name, re.DOTALL)
  assert match  # it matches any name
  module, leaf = match.groups()
  for rule in rules:
    match = re.fullmatch(rule.pattern, module or '')
    if match and leaf in rule.leaves:
      target = match.expand(rule.target)
      ends = rule.leaves[leaf]
      return [(f'{target}/{end}'.lstrip('/'), change) for end, change in ends]
  return []


def _array(value: Any, transform: Transform) -> np.ndarray:
  if isinstance(value, unpickling.Tensor):
    value = value.numpy()
  return np.asarray(transform(value), np.float32, order='C')


def _stack(
  arrays: Mapping[str, np.ndarray], problems: list[str]
) -> dict[str, np.ndarray]:
  """Stacks the arrays of `blocks[0]`, `blocks[1]`, ..., and adds problems."""
  done: dict[str, Any] = {}
  parts: dict[str, Any] = {}
  for name, array in arrays.items():
    match = re.fullmatch(r'(.*?)(\[(\d+)\](.*))?', name, re.DOTALL)
    assert match  # it matches any name
    whole, _, index, end = match.groups()
    if index is None:
      done[name] = array
    else:
      parts.setdefault(whole + end, {})[int(index)] = array
  for name, slices in parts.items():
    if sorted(slices) != list(range(len(slices))):
      problems.append(f'  ? {name}: there are only layers {sorted(slices)}')
    ours = [slices[i] for i in sorted(slices)]
    shapes = {array.shape for array in ours}
    if len(shapes) > 1:
      problems.append(f'  ? {name}: layers have shapes {sorted(shapes)}')
      ours = ours[:1]
    done[name] = np.stack(ours)
  return done
