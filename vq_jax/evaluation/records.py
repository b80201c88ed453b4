"""Results of evaluations: numbers, with all that they depend on."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from vq_jax._version import __version__
from vq_jax.utils import paths

PIXELS = 'uint8 in [0, 255]'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
  """One number, with all that it depends on.

  Attributes:
    metric: name of the number, such as 'fid'.
    value: the number.
    deviation: its standard deviation over the parts that it is a mean of; None
      if it is no such mean.
    standard_error: the standard error of that mean.
    range: the smallest and the largest possible value; None if there is none.
    samples: number of images that were evaluated.
    features: `name`, `checksum` and `resizer` of the feature network; None for
      metrics without one.
    reference: `name`, `checksum` and `samples` of the reference set; None for
      metrics without one.
    floor: the same number of real images in place of those that were evaluated:
      what a perfect model would reach.
    floor_samples: number of these images.
    floor_note: what these images are, or why there are none.
  """

  metric: str
  value: float
  deviation: float | None = None
  standard_error: float | None = None
  range: tuple[float | None, float | None]
  samples: int
  features: Mapping[str, str | None] | None = None
  reference: Mapping[str, Any] | None = None
  floor: float | None = None
  floor_samples: int | None = None
  floor_note: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
  """The results of one evaluation.

  Attributes:
    kind: 'generation', 'reconstruction' or 'comparison'.
    images: the name of the images that were evaluated, such as a run.
    model: SHA-256 of the configs and the variables of the model that made
      them; None without a model.
    seed: seed of the samples and of the random parts of metrics.
    sampling: the options of the samplers, if images were generated.
    results: the numbers.
    unavailable: metric -> why it could not be computed.

  Example:
    >>> result = Result(
    ...   metric='psnr', value=23.45, range=(None, None), samples=100
    ... )
    >>> record = Record(
    ...   kind='reconstruction', images='run', seed=0, results=(result,)
    ... )
    >>> record.value('psnr')
    23.45
  """

  kind: str
  images: str
  seed: int
  model: str | None = None
  sampling: Sequence[Mapping[str, Any]] = ()
  results: Sequence[Result] = ()
  unavailable: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def value(self, metric: str) -> float:
    """Returns the number of a metric.

    Raises:
      KeyError: if there is none.
    """
    return {r.metric: r.value for r in self.results}[metric]

  def to_json(self) -> dict[str, Any]:
    """Returns the record as JSON, in which each result is complete."""
    shared = {
      'kind': self.kind,
      'images': self.images,
      'model': self.model,
      'seed': self.seed,
      'pixels': PIXELS,
      'sampling': list(map(dict, self.sampling)),
      'version': __version__,
    }
    results = [dataclasses.asdict(r) | shared for r in self.results]
    return {
      **shared,
      'results': results,
      'unavailable': dict(self.unavailable),
    }

  def write(self, path: str | os.PathLike) -> None:
    """Writes the record atomically as a JSON file."""
    text = json.dumps(self.to_json(), indent=2, allow_nan=False)
    paths.write_text(path, text + '\n')

  def table(self) -> str:
    """Returns the results as a table for people."""
    header = ('metric', 'value', '+-', 'real', 'samples', 'features, reference')
    rows = [header, *map(_row, self.results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header) - 1)]
    lines = [
      '  '.join(
        [row[0].ljust(widths[0])]
        + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=False)]
        + [row[-1]]
      ).rstrip()
      for row in rows
    ]
    notes = dict.fromkeys(r.floor_note for r in self.results if r.floor_note)
    lines += [f'real: {note}' for note in notes]
    return '\n'.join(lines)


def finite(value: float, metric: str) -> float:
  """Returns a number as a Python float.

  Raises:
    ValueError: if it is NaN or infinite.
  """
  if not math.isfinite(value):
    raise ValueError(f'{metric} is {value}; the features are out of range.')
  return float(value)


def _row(result: Result) -> tuple[str, ...]:
  spread = result.standard_error
  parts = []
  if result.features:
    parts.append('{name} ({resizer})'.format(**result.features))
  if result.reference:
    parts.append('{name}, {samples} images'.format(**result.reference))
  return (
    result.metric,
    f'{result.value:.5g}',
    '' if spread is None else f'{spread:.2g}',
    '' if result.floor is None else f'{result.floor:.5g}',
    str(result.samples),
    '; '.join(parts),
  )
