"""The folder of a run: its lock, its config, and whether they fit."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import jax

import vq_jax
from vq_jax.runs import checkpoints
from vq_jax.runs import layout

# Names that a run which ended before its first step may leave in its folder.
_BEFORE_CLAIM = ('.lock', layout.AUTOENCODER, layout.PARENT, layout.GENERATOR)


# Fields that may change while a run trains, because they do not affect the
# steps that are done: its length, the devices, how images are read, and what
# is written.
FREE_TO_CHANGE = (
  'parallel',
  'sampler',
  'data.workers',
  'data.prefetch',
  'data.data_dir',
  'data.in_memory',
  'data.max_unreadable',
  'train',
)


@contextlib.contextmanager
def lock(folder: pathlib.Path) -> Iterator[None]:
  """Locks a run folder, until the context or the process ends.

  Raises:
    RunError: if another process trains in it.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / '.lock', 'w') as file:
    try:
      if jax.process_index() == 0:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise layout.RunError(
        f'another process is training in {folder}. Wait for it, or give '
        'another --workdir.'
      ) from error
    yield


def is_claimed(folder: pathlib.Path) -> bool:
  """Returns whether a run has begun in a folder."""
  return (folder / layout.CONFIG).is_file()


def prepare_run(
  folder: pathlib.Path, config: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns what `config.json` is to hold, as far as it is known by now.

  Fields of the config that do not affect the steps that are done may differ
  from those of the run in the folder; see `FREE_TO_CHANGE`. Each change
  is recorded under `changes`: the step, and key -> [before, now].

  Args:
    folder: the run folder.
    config: the config, plain.
    facts: what is known of the examples; see `datasets.Datasets`.

  Raises:
    RunError: if it holds the run of another config, or foreign files.
  """
  run = {'config': dict(config), 'dataset': dict(facts)}
  if not is_claimed(folder):
    if any(p.name not in _BEFORE_CLAIM for p in folder.iterdir()):
      raise layout.RunError(
        f'{folder} is not empty and holds no run. Give a new folder as '
        '--workdir.'
      )
    return {**run, 'vq_jax': vq_jax.__version__}
  old = layout.read_config(folder)
  refuse_another(folder, old, run)
  changed = get_changes(old['config'], run['config'])
  if not changed:
    return old
  record = {'step': checkpoints.latest_step(folder) or 0, 'keys': changed}
  changes = [*old.get('changes', []), record]
  return {**old, 'config': run['config'], 'changes': changes}


def refuse_another(
  folder: pathlib.Path, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
  """Raises RunError if the config or the examples of a run are others now.

  Args:
    folder: the run folder.
    old: its `config.json`.
    new: `config` and `dataset` as they are now.
  """
  lines = get_differences(old.get('config'), new['config'])
  lines += get_differences(old.get('dataset'), new['dataset'], 'images')
  if not lines:
    return
  hint = (
    'Give the config of that run, or begin a new run with its weights: '
    f'another --workdir and --config.init_from={folder}.'
  )
  if old.get('dataset') != new['dataset']:
    hint = get_other_images_hint(folder) + _get_class_order_hint(old, new)
  raise layout.RunError(
    f'{folder} holds the run of another config. {hint} They differ in:\n'
    + '\n'.join(lines)
  )


def get_other_images_hint(folder: pathlib.Path) -> str:
  """Returns what to do if the images of a run are others now."""
  return (
    'Bring the same files back, or begin a new run with the weights of this '
    f'one: another --workdir and --config.init_from={folder}.'
  )


def _get_class_order_hint(
  old: Mapping[str, Any], new: Mapping[str, Any]
) -> str:
  """Returns a hint if the classes are the same in another order, else ''."""
  before, now = (
    config.get('dataset', {}).get('class_names', []) for config in (old, new)
  )
  if before == now or sorted(before) != sorted(now):
    return ''
  return (
    ' Its classes are the same in another order, so the labels have other '
    'meanings (names with numbers are sorted by their values).'
  )


def claim(folder: pathlib.Path, run: Mapping[str, Any]) -> None:
  """Writes `config.json`, if it is new or has changed."""
  if jax.process_index() == 0 and not (
    is_claimed(folder) and layout.read_config(folder) == run
  ):
    layout.write_config(folder, run)


def get_changes(
  old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, list[Any]]:
  """Returns the differences in `FREE_TO_CHANGE`: key -> [before, now]."""
  return {key: pair for key, pair in _compare(old, new, '') if _is_free(key)}


def get_differences(
  old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ''
) -> list[str]:
  """Returns a line for each field that differs and may not change."""
  return [
    f'  {key}: {before!r} there, {now!r} here'
    for key, (before, now) in _compare(old, new, prefix)
    if not _is_free(key)
  ]


def _is_free(key: str) -> bool:
  return any(f'{key}.'.startswith(f'{free}.') for free in FREE_TO_CHANGE)


def _compare(old: Any, new: Any, prefix: str):
  """Yields the fields in which two configs differ: (key, [before, now])."""
  if isinstance(old, Mapping) and isinstance(new, Mapping):
    for key in sorted({*old, *new}):
      path = f'{prefix}.{key}' if prefix else key
      yield from _compare(old.get(key), new.get(key), path)
  elif old != new:
    yield prefix, [old, new]
