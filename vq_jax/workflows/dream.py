"""Guided optimisation in a folder: a preview, a film, and a state to resume.

The folder holds `settings.json`, `state.msgpack`, and `frames/`. Files are
written atomically, the frame before the state, so that a run that was killed
at any time goes on to the same images.
"""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import flax.serialization
import jax
import numpy as np

from vq_jax import guidance
from vq_jax.inference import codec
from vq_jax.inference import dream as dream_lib
from vq_jax.utils import images
from vq_jax.utils import paths

Settings = Mapping[str, str | int | float | bool | None]
Report = Callable[[int, int, Mapping[str, jax.Array]], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
  """Where and how often an optimisation is recorded.

  Attributes:
    folder: the folder, which is created.
    out: the image file with the preview and, in the end, the result.
    settings: all that the images depend on; a run of other settings is not
      resumed. They are written into the image files.
    steps: the number of steps.
    save_every: the number of steps from one record to the next.
  """

  folder: pathlib.Path
  out: pathlib.Path
  settings: Settings
  steps: int
  save_every: int = 10

  @property
  def frames(self) -> list[pathlib.Path]:
    """The image files of the film, in their order."""
    return sorted((self.folder / 'frames').glob('*.png'))

  def read_frames(self) -> Iterator[np.ndarray]:
    """Yields the frames of the film, uint8 [H, W, C]."""
    for path in self.frames:
      yield codec.decode_image(path, 3)


def begin(recording: Recording, *, resume: bool) -> None:
  """Prepares the folder of a recording.

  Args:
    recording: the recording.
    resume: whether to go on with what is there.

  Raises:
    ValueError: if the folder holds something else, a run of other settings, or
      an unfinished run and `resume` is false.
  """
  settings = recording.folder / 'settings.json'
  there = recording.folder.exists() and any(recording.folder.iterdir())
  if there and not settings.is_file():
    raise ValueError(
      f'{recording.folder} is not empty and is no folder of a recording; '
      'remove it, or give another file with --out.'
    )
  if there and resume:
    _check_same(json.loads(settings.read_text())['settings'], recording)
  elif there:
    done = json.loads(settings.read_text())
    if not done['finished']:
      raise ValueError(
        f'{recording.folder} holds an unfinished run; add --resume to go on, '
        'remove it, or give another file with --out.'
      )
    shutil.rmtree(recording.folder)
  _write_settings(recording, finished=False)


def optimize(
  recording: Recording, dream: dream_lib.Dream, report: Report
) -> np.ndarray:
  """Takes all steps that are left, and records them.

  Args:
    recording: the recording; see `begin`.
    dream: the optimisation.
    report: called with the number of steps that were taken, the phrase of the
      last, and the losses.

  Returns:
    the images, float32 [B, H, W, C].
  """
  state = dream.start
  path = recording.folder / 'state.msgpack'
  if path.is_file():
    try:
      state = _from_bytes(dream.start, path.read_bytes())
    except ValueError as error:
      raise ValueError(
        f'{path} cannot be read: {error}. Remove {recording.folder} to begin '
        'anew.'
      ) from error
  taken = int(state.step)
  for frame in recording.frames:
    # The last frame of a run that stopped between two records goes, too.
    unplanned = (
      taken < recording.steps and int(frame.stem) % recording.save_every
    )
    if int(frame.stem) > taken or unplanned:
      frame.unlink()
  if not taken:
    _record(recording, dream, state)
  try:
    for step in range(taken, recording.steps):
      if step > taken and step % recording.save_every == 0:
        _record(recording, dream, state)
      state, losses = dream.advance(state, step)
      report(step + 1, dream.phrase_at(step), losses)
  finally:
    found = _record(recording, dream, state)
  _write_settings(recording, finished=True)
  return found


def style_frames(
  recording: Recording,
  sources: Sequence[pathlib.Path],
  prepare: Callable[[np.ndarray], dream_lib.Dream],
  size: tuple[int, int, int],
  mix: float,
  report: Report,
) -> None:
  """Optimises each image of a film, from a mixture with the result before.

  Args:
    recording: the recording; each image is one frame of it.
    sources: the image files.
    prepare: the first image uint8 [H, W, C] -> the optimisation.
    size: (H, W, C).
    mix: the share of the result before in the first image.
    report: see `optimize`; the steps of all images are counted.
  """
  before = None
  for number, source in enumerate(sources):
    path = recording.folder / 'frames' / f'{number:08}.png'
    if not path.is_file():
      first = dream_lib.fit(codec.decode_image(source, size[-1]), size[:2])
      if before is not None:
        mixed = (1 - mix) * first.astype(np.float32) + mix * before
        first = np.round(mixed).astype(np.uint8)
      dream = prepare(first)
      state = dream.start
      for step in range(recording.steps):
        state, losses = dream.advance(state, step)
        taken = number * recording.steps + step + 1
        report(taken, dream.phrase_at(step), losses)
      _write_image(recording, path, np.asarray(dream.decode(state)))
    # What the file holds, so that a resumed film is the same.
    before = codec.decode_image(path, size[-1]).astype(np.float32)
    paths.write_bytes(recording.out, path.read_bytes())
  _write_settings(recording, finished=True)


def _record(
  recording: Recording,
  dream: dream_lib.Dream,
  state: guidance.GuidanceState,
) -> np.ndarray:
  """Writes frame, preview and state; returns the images."""
  found = np.asarray(np.asarray(dream.decode(state)))
  frame = recording.folder / 'frames' / f'{int(state.step):08}.png'
  _write_image(recording, frame, found)
  _write_image(recording, recording.out, found)
  paths.write_bytes(recording.folder / 'state.msgpack', _to_bytes(state))
  return found


def _write_image(
  recording: Recording, path: pathlib.Path, found: np.ndarray
) -> None:
  """Writes one image, or a grid of several, with the settings."""
  image = images.grid(found) if len(found) > 1 else found[0]
  comment = json.dumps(dict(recording.settings), ensure_ascii=False)
  images.save_image(path, image, comment=comment)


def _write_settings(recording: Recording, *, finished: bool) -> None:
  content = {'finished': finished, 'settings': dict(recording.settings)}
  paths.write_text(
    recording.folder / 'settings.json', json.dumps(content, indent=2)
  )


def _check_same(there: Settings, recording: Recording) -> None:
  """Raises ValueError if a run in the folder has other settings."""
  here = json.loads(json.dumps(dict(recording.settings)))
  lines = [
    f'{name}: {there.get(name)!r} there, {here.get(name)!r} here'
    for name in sorted({*there, *here})
    if there.get(name) != here.get(name)
  ]
  if lines:
    raise ValueError(
      f'{recording.folder} holds a run of other settings ({"; ".join(lines)}); '
      'repeat them, remove it, or give another file with --out.'
    )


def _to_bytes(state: guidance.GuidanceState) -> bytes:
  """Serialises a state."""
  return flax.serialization.to_bytes(jax.device_get(state))


def _from_bytes(
  start: guidance.GuidanceState, content: bytes
) -> guidance.GuidanceState:
  """Reads a state of `_to_bytes`, with the shapes and devices of `start`.

  Raises:
    ValueError: if the state is not one of the same optimisation.
  """
  try:
    found = flax.serialization.from_bytes(start, content)
    shapes = jax.tree.map(lambda a, b: np.shape(a) == b.shape, found, start)
  except Exception as error:  # msgpack and flax raise errors of many types
    raise ValueError(f'it is damaged or of other settings: {error}') from error
  if not all(jax.tree.leaves(shapes)):
    raise ValueError('its images or latents have other shapes')
  return jax.tree.map(lambda a, b: jax.device_put(a, b.sharding), found, start)
