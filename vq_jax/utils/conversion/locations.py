"""Locations of the weights of a model within a checkpoint.

Programs save weights under different keys (`model`, `ema`), with prefixes of
wrappers (`module.`), or as part of a larger model (`first_stage_model.` in a
latent diffusion model). Each kind has a landmark: the name of an array that all
its checkpoints contain, whose location is that of the other arrays.
"""

import dataclasses
import re
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import numpy as np

from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import unpickling

_DEPTH = 5  # of nested dicts
# Parts of names that torch.compile, FSDP and activation checkpointing add.
_WRAPPERS = re.compile(
  r'(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.'
)
_AVERAGED = re.compile(r'(?:^|[._])(?:averaged?|ema|polyak|shadow)(?:$|[._])')
# Keys of optimizer statistics, which contain arrays with the same names.
_STATISTICS = frozenset(
  {'exp_avg', 'exp_avg_sq', 'momentum', 'mu', 'nu', 'opt_state', 'param_states'}
)
# Of several locations, the one whose last key or prefix is first here is used.
_PREFERRED = (
  *('', 'first_stage_model', 'state_dict', 'model_state_dict', 'model'),
  *('params', 'target', 'module', 'vqgan', 'vqvae', 'tokenizer', 'generator'),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Location:
  """A location of the landmark.

  Attributes:
    keys: keys of the nested dicts.
    prefix: prefix of the names in the innermost dict.
    arrays: the innermost dict.
    wrapped: whether parts that wrappers add were removed from its names.
  """

  keys: tuple[str, ...]
  prefix: str
  arrays: Mapping[str, Any]
  wrapped: bool = False

  def __str__(self) -> str:
    """Returns `key/key/prefix.`, or '' for the top level without a prefix."""
    return '/'.join((*self.keys, self.prefix)).rstrip('/')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
  """The weights of a model.

  Attributes:
    tree: name -> array, or `{'params': ...}` for a Flax checkpoint; the whole
      checkpoint if it has no landmark.
    notice: a description of their location, if it is not a usual one.
  """

  tree: Any
  notice: str | None = None


def find(tree: Any, landmark: str, usual: tuple[str, ...]) -> Found:
  """Finds the weights of a model in a checkpoint.

  If there are several locations, averaged weights (`ema`) are preferred, since
  papers evaluate them.

  Args:
    tree: the content of the checkpoint.
    landmark: the name of an array that all checkpoints of the kind contain,
      with dots for PyTorch and slashes for Flax.
    usual: locations in released checkpoints, for which there is no notice.

  Raises:
    ConvertError: if several locations are equally good, or two arrays have the
      same name without the parts that wrappers add.
  """
  locations = sorted(_locations(tree, landmark, (), set()), key=_rank)
  if not locations:
    return Found(tree=tree)
  best, *others = locations
  if others and _rank(others[0]) == _rank(best):
    listed = ', '.join(repr(str(location)) for location in locations[:5])
    raise errors.ConvertError(
      f'it holds the model {len(locations)} times, at {listed}; save a file '
      'with one of them'
    )
  notice = None
  if others or best.wrapped or str(best) not in usual:
    notice = _notice(best, others)
  if '/' in landmark:
    return Found(tree={'params': best.arrays}, notice=notice)
  size = len(best.prefix)
  arrays = {
    name[size:]: array
    for name, array in best.arrays.items()
    if name.startswith(best.prefix)
  }
  return Found(tree=arrays, notice=notice)


def _locations(
  tree: Any, landmark: str, keys: tuple[str, ...], seen: set[int]
) -> Iterator[Location]:
  """Yields the locations of the landmark; `seen` are ids of visited dicts."""
  # A dict of a pickle may contain itself.
  if not isinstance(tree, Mapping) or id(tree) in seen or len(keys) > _DEPTH:
    return
  seen.add(id(tree))
  if '/' in landmark:
    if isinstance(_inside(tree, landmark), np.ndarray):
      yield Location(keys=keys, prefix='', arrays=tree)
  else:
    yield from _flat_locations(tree, landmark, keys)
  for key, value in tree.items():
    if isinstance(key, str) and key not in _STATISTICS:
      yield from _locations(value, landmark, (*keys, key), seen)


def _flat_locations(
  tree: Mapping[Any, Any], landmark: str, keys: tuple[str, ...]
) -> Iterator[Location]:
  """Yields the locations of the landmark among the tensors of a dict."""
  tensors = {
    name: value
    for name, value in tree.items()
    if isinstance(name, str) and isinstance(value, unpickling.Tensor)
  }
  bare = {_WRAPPERS.sub('', name): value for name, value in tensors.items()}
  ends = [n for n in bare if n == landmark or n.endswith(f'.{landmark}')]
  if ends and len(bare) < len(tensors):
    raise errors.ConvertError(
      'two of its arrays have one name without _orig_mod and the like'
    )
  for name in ends:
    yield Location(
      keys=keys,
      prefix=name.removesuffix(landmark),
      arrays=bare,
      wrapped=bare.keys() != tensors.keys(),
    )


def _inside(tree: Any, path: str) -> Any:
  for key in path.split('/'):
    tree = tree.get(key) if isinstance(tree, Mapping) else None
  return tree


def _rank(location: Location) -> tuple[bool, int]:
  """Returns a sort key, smallest for the best location."""
  parts = (*location.keys, *location.prefix.split('.')[:-1])
  last = parts[-1] if parts else ''
  known = _PREFERRED.index(last) if last in _PREFERRED else len(_PREFERRED)
  return not any(map(_AVERAGED.search, parts)), known


def _notice(best: Location, others: list[Location]) -> str:
  """Describes the location of the weights, and what was not used."""
  parts = [f'the weights were found at {str(best) or "the top"!r}']
  if best.wrapped:
    parts.append('names were freed of _orig_mod and the like')
  if others:
    listed = ', '.join(repr(str(x) or 'the top') for x in others[:5])
    parts.append(f'those at {listed} were not taken')
  beside = [n for n in best.arrays if not n.startswith(best.prefix)]
  if beside:
    parts.append(
      f'{len(beside)} other arrays, such as {min(beside)}, were left out'
    )
  return '; '.join(parts) + '.'
