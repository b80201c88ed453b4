"""Where in a checkpoint the weights of a model lie.

Programs save the same weights under a key of their own (`model`, `ema`), with
prefixes of what the model was wrapped in (`module.`), or as part of something
larger (`first_stage_model.` in a latent diffusion model). Each kind has a
landmark, an array that all its checkpoints have: where it is, the others are.
"""

import dataclasses
import re
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import numpy as np

from vq_jax.convert import errors
from vq_jax.convert import unpickling

_DEPTH = 5  # of dicts in dicts
# What torch.compile, FSDP and activation checkpointing put into names.
_WRAPPERS = re.compile(
  r'(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.'
)
_AVERAGED = re.compile(r'(?:^|[._])(?:averaged?|ema|polyak|shadow)(?:$|[._])')
# Statistics of optimizers, which have the names of the weights.
_STATISTICS = frozenset(
  {'exp_avg', 'exp_avg_sq', 'momentum', 'mu', 'nu', 'opt_state', 'param_states'}
)
# Of several places the one whose last key or prefix stands here first is taken.
_PREFERRED = (
  *('', 'first_stage_model', 'state_dict', 'model_state_dict', 'model'),
  *('params', 'target', 'module', 'vqgan', 'vqvae', 'tokenizer', 'generator'),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
  """A place that holds the landmark.

  Attributes:
    keys: of the dicts on the way to it.
    prefix: of the names there.
    arrays: all that lies beside it, by its name there.
    wrapped: whether names there had to be freed of wrappers.
  """

  keys: tuple[str, ...]
  prefix: str
  arrays: Mapping[str, Any]
  wrapped: bool = False

  def __str__(self) -> str:
    """Returns `key/key/prefix.`; '' for the names themselves."""
    return '/'.join((*self.keys, self.prefix)).rstrip('/')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
  """The weights of a model.

  Attributes:
    tree: name -> array, or `params` in a dict for a checkpoint of Flax; all of
      the checkpoint if it has no landmark.
    notice: where they were found, if they are usually elsewhere.
  """

  tree: Any
  notice: str | None = None


def find(tree: Any, landmark: str, usual: tuple[str, ...]) -> Found:
  """Finds the weights of a model in what a checkpoint holds.

  If several places hold the landmark, averaged weights (`ema`) are taken: they
  are those that are evaluated in papers.

  Args:
    tree: what was saved.
    landmark: the name of an array that each checkpoint of the kind has, with
      dots for PyTorch and slashes for Flax.
    usual: the places of released checkpoints, of which nothing is told.

  Raises:
    ConvertError: if several places are equally good, or two arrays have one
      name without what wraps it.
  """
  places = sorted(_places(tree, landmark, (), set()), key=_rank)
  if not places:
    return Found(tree=tree)
  best, *others = places
  if others and _rank(others[0]) == _rank(best):
    listed = ', '.join(repr(str(place)) for place in places[:5])
    raise errors.ConvertError(
      f'it holds the model {len(places)} times, at {listed}; save a file with '
      'one of them'
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


def _places(
  tree: Any, landmark: str, keys: tuple[str, ...], seen: set[int]
) -> Iterator[Place]:
  """Yields each place of the landmark; `seen` are dicts, by their ids."""
  # A pickle may hold dicts that hold themselves.
  if not isinstance(tree, Mapping) or id(tree) in seen or len(keys) > _DEPTH:
    return
  seen.add(id(tree))
  if '/' in landmark:
    if isinstance(_inside(tree, landmark), np.ndarray):
      yield Place(keys=keys, prefix='', arrays=tree)
  else:
    yield from _flat_places(tree, landmark, keys)
  for key, value in tree.items():
    if isinstance(key, str) and key not in _STATISTICS:
      yield from _places(value, landmark, (*keys, key), seen)


def _flat_places(
  tree: Mapping[Any, Any], landmark: str, keys: tuple[str, ...]
) -> Iterator[Place]:
  """Yields the prefixes of the landmark among the tensors of a dict."""
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
    yield Place(
      keys=keys,
      prefix=name.removesuffix(landmark),
      arrays=bare,
      wrapped=bare.keys() != tensors.keys(),
    )


def _inside(tree: Any, path: str) -> Any:
  for key in path.split('/'):
    tree = tree.get(key) if isinstance(tree, Mapping) else None
  return tree


def _rank(place: Place) -> tuple[bool, int]:
  """Returns what is least for the best place."""
  parts = (*place.keys, *place.prefix.split('.')[:-1])
  last = parts[-1] if parts else ''
  known = _PREFERRED.index(last) if last in _PREFERRED else len(_PREFERRED)
  return not any(map(_AVERAGED.search, parts)), known


def _notice(best: Place, others: list[Place]) -> str:
  """Says where the weights were found, and what was not taken."""
  parts = [f'the weights were found at {str(best) or "the top"!r}']
  if best.wrapped:
    parts.append('names were freed of _orig_mod and the like')
  if others:
    places = ', '.join(repr(str(place) or 'the top') for place in others[:5])
    parts.append(f'those at {places} were not taken')
  beside = [n for n in best.arrays if not n.startswith(best.prefix)]
  if beside:
    parts.append(
      f'{len(beside)} other arrays, such as {min(beside)}, were left out'
    )
  return '; '.join(parts) + '.'
