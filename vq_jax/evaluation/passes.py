"""One pass over a set of images, which writes their features in shards."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vq_jax._version import __version__
from vq_jax.evaluation import image_sets
from vq_jax.evaluation import shards as shards_lib
from vq_jax.features import FeatureExtractor
from vq_jax.utils import devices

SHARD_SIZE = 1000
_DIGEST = 'digest'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pass:
  """What is computed for each image.

  Attributes:
    extractors: prefix -> extractor; the output `pooled` of the prefix '' is the
      array `pooled`, and that of `clip_` the array `clip_pooled`.
    arrays: names of the arrays that are kept: outputs of the extractors, and
      arrays of the batches, such as `label` or `image`.
    batch_size: number of images of a batch.
    shard_size: number of images of a shard.
  """

  extractors: Mapping[str, FeatureExtractor]
  arrays: frozenset[str]
  batch_size: int = 100
  shard_size: int = SHARD_SIZE

  def describe(self, images: image_sets.ImageSet) -> dict[str, Any]:
    """Returns what identifies the pass over a set of images, as JSON."""
    return {
      'images': images.describe(),
      'extractors': {
        prefix: describe_extractor(extractor)
        for prefix, extractor in self.extractors.items()
        if self._outputs(prefix)
      },
      'arrays': sorted(self.arrays),
      'batch_size': self.batch_size,
      'shard_size': self.shard_size,
      'devices': jax.local_device_count(),
      'version': __version__,
    }

  def folder(
    self, images: image_sets.ImageSet, root: pathlib.Path
  ) -> pathlib.Path:
    """Returns the folder of the pass over a set of images."""
    text = json.dumps(self.describe(images), sort_keys=True)
    return root / hashlib.sha256(text.encode()).hexdigest()[:16]

  def run(
    self, images: image_sets.ImageSet, root: pathlib.Path
  ) -> shards_lib.Shards:
    """Computes what is not there yet; each process makes some of the shards.

    If it is stopped, the next call with the same arguments resumes it, and the
    result is the same to the bit.

    Args:
      images: the images.
      root: the folder that has a folder for each pass.

    Returns:
      the shards, all complete, with the array `digest` besides `arrays`.

    Raises:
      ValueError: if no image can be read.
    """
    folder = self.folder(images, root)
    shards = shards_lib.claim(
      folder, self.describe(images), len(images), self.shard_size
    )
    mine = range(jax.process_index(), len(shards), jax.process_count())
    missing = [i for i in mine if not shards.path(i).exists()]
    total = sum(len(shards.examples(i)) for i in mine)
    todo = sum(len(shards.examples(i)) for i in missing)
    with _progress(images.name, total, total - todo) as bar:
      for i in missing:
        parts = []
        for part in self._compute_all(
          images.batches(shards.examples(i), self.batch_size)
        ):
          parts.append(part)
          bar.update(len(part[_DIGEST]))
        shards.write(i, _join(parts))
    devices.wait_for_processes('shards')
    return shards

  def _outputs(self, prefix: str) -> list[str]:
    """Returns the outputs of an extractor that are kept."""
    outputs = self.extractors[prefix].outputs
    return [name for name in outputs if f'{prefix}{name}' in self.arrays]

  def _compute_all(
    self, batches: Iterable[image_sets.Batch]
  ) -> Iterator[Mapping[str, np.ndarray]]:
    """Yields the arrays of each batch that has images.

    A batch is read and resized on the host while the devices compute the
    features of the previous one.
    """
    previous = None
    for batch in batches:
      if not len(batch['image']):
        continue
      started = self._start(batch)
      if previous is not None:
        yield previous()
      previous = started
    if previous is not None:
      yield previous()

  def _start(
    self, batch: image_sets.Batch
  ) -> Callable[[], dict[str, np.ndarray]]:
    """Starts to compute the arrays of a batch; returns what waits for them."""
    running = {
      prefix: extractor.start(batch['image'])
      for prefix, extractor in self.extractors.items()
      if self._outputs(prefix)
    }
    found = {k: np.asarray(v) for k, v in batch.items() if k in self.arrays}
    found[_DIGEST] = image_sets.digests(batch['image'])

    def finish() -> dict[str, np.ndarray]:
      for prefix, wait in running.items():
        features = wait()
        for name in self._outputs(prefix):
          found[f'{prefix}{name}'] = features[name]
      return found

    return finish


def describe_extractor(extractor: FeatureExtractor) -> dict[str, str | None]:
  """Returns the name, the checksum of the weights and the resizer."""
  return {
    'name': extractor.name,
    'checksum': extractor.checksum,
    'resizer': extractor.resizer,
  }


def checksum(shards: shards_lib.Shards) -> str:
  """Returns the SHA-256 of the pixels of all images, in their order."""
  digest = hashlib.sha256()
  rows = shards.rows(_DIGEST)
  for start in range(0, len(rows), SHARD_SIZE):
    digest.update(rows[start : start + SHARD_SIZE].tobytes())
  return digest.hexdigest()


def _join(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
  """Concatenates batches; there are none if no image could be read."""
  names = parts[0] if parts else ()
  return {
    name: np.concatenate([part[name] for part in parts]) for name in names
  }


def _progress(name: str, total: int, done: int):
  import tqdm

  return tqdm.tqdm(
    desc=name,
    total=total,
    initial=done,
    unit=' images',
    delay=1,
    disable=True if jax.process_index() else None,
  )
