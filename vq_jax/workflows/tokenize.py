"""Encoding a data set to tokens on disk.

A prior can be trained on the tokens without running the tokenizer; see
`vq_jax.data.tokens` for the files.
"""

import functools
import math
import os
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vq_jax import data
from vq_jax.data import fetch as fetch_lib
from vq_jax.data import tokens as tokens_lib
from vq_jax.data.preprocessing import Preprocess
from vq_jax.inference import codec
from vq_jax.model import Model
from vq_jax.runs import export
from vq_jax.utils import devices
from vq_jax.utils import fields
from vq_jax.utils import packages

SHARD_SIZE = 4096
_ALL = {'train': 'train'}


@fields.checked
def tokenize(
  model: Model,
  out: str | os.PathLike,
  *,
  source: str,
  splits: Mapping[str, str] | None = None,
  data_dir: str | os.PathLike | None = None,
  passes: fields.PositiveInt = 1,
  seed: fields.Seed = 0,
  batch_size: fields.PositiveInt = 128,
  shard_size: fields.PositiveInt = SHARD_SIZE,
) -> dict[str, int]:
  """Encodes a data set and writes its tokens; resumes where it was stopped.

  The first pass uses the preprocessing of the run's evaluation, further passes
  that of its training, with other random numbers in each pass. Only the split
  `train` has further passes. Images that cannot be read are left out. All
  devices take part, and each process writes some of the files.

  Args:
    model: an autoencoder with a quantizer.
    out: the folder to write.
    source: the data set; see `vq_jax.data.open_source`.
    splits: name of a split to write -> split of the source, such as
      `{'train': 'train[:95%]', 'test': 'train[95%:]'}`; by default 'train'.
    data_dir: the folder of the data sets of TFDS.
    passes: how often each image of the split `train` is encoded.
    seed: the seed of the random preprocessing of further passes.
    batch_size: the number of images in a batch.
    shard_size: the number of examples in a file.

  Returns:
    the number of examples of each split.

  Raises:
    ValueError: if the model has no quantizer, or all passes would be the same.
    DataError: if the folder holds something else, or cannot be written to.
  """
  out, splits = pathlib.Path(out).expanduser(), dict(splits or _ALL)
  preprocess = _preprocess_of_passes(model, passes, splits)
  sources = _open_splits(model, source, splits, data_dir)
  record = _make_record(model, sources, passes, seed, shard_size)
  record |= {'source': source, 'splits': splits}
  devices.first_process_first(lambda: tokens_lib.claim(out, record))
  features = tokens_lib.make_features(record)
  paths = {
    split: _write_split(
      _Encode(model, images, preprocess, seed, min(batch_size, shard_size)),
      functools.partial(tokens_lib.shard_path, out, split),
      features,
      total=len(images) * (passes if split == 'train' else 1),
      shard_size=shard_size,
    )
    for split, images in sources.items()
  }
  if jax.process_index() == 0:
    tokens_lib.write_metadata(out, features, paths)
    tokens_lib.write_record(out, {**record, 'complete': True})
  devices.wait_for_processes('record')
  return {split: len(tokens_lib.TokenSource(out, split)) for split in splits}


def _open_splits(
  model: Model,
  source: str,
  splits: Mapping[str, str],
  data_dir: str | os.PathLike | None,
) -> dict[str, data.Source]:
  """Opens the splits of a source, by the names that they are written under."""
  for name in splits:
    if not name.isidentifier():
      raise data.DataError(
        f'a split to write needs a plain name such as train; got {name!r}. '
        'Give the split of the source after it: train=train[:95%].'
      )
  return {
    name: data.require_images(
      data.open_source(
        source,
        part,
        data_dir=data_dir,
        channels=model.info.image_shape[-1],
      )
    )
    for name, part in splits.items()
  }


def _write_split(
  encode: '_Encode',
  path_of: Callable[[int, int], pathlib.Path],
  features: Any,
  *,
  total: int,
  shard_size: int,
) -> list[pathlib.Path]:
  """Writes this process's shards of a split that do not exist yet.

  Returns:
    the paths of all shards.
  """
  shards = math.ceil(total / shard_size)
  paths = [path_of(i, shards) for i in range(shards)]
  with _progress(total, encode.name) as bar:
    for i, path in enumerate(paths):
      rows = range(i * shard_size, min((i + 1) * shard_size, total))
      mine = i % jax.process_count() == jax.process_index()
      if mine and not path.exists():
        tokens_lib.write_shard(path, features, encode(rows, bar))
      bar.n = rows.stop
      bar.refresh()
  devices.wait_for_processes('shards')
  return paths


class _Encode:
  """Encodes examples, which are numbered through all passes over a source."""

  def __init__(
    self,
    model: Model,
    source: data.Source,
    preprocess: Sequence[tuple[Preprocess, ...]],
    seed: int,
    batch_size: int,
  ):
    self.name = source.name
    self._source = source
    self._sharding = devices.batch_sharding()
    self._batch_size = devices.round_up(batch_size, self._sharding)
    self._fetches = [
      fetch_lib.Fetch(source=source, preprocess=chain, seed=seed)
      for chain in preprocess
    ]
    self._encode = functools.partial(
      codec.encode_tokens, model.autoencoder, model.variables['autoencoder']
    )
    self._names = tokens_lib.feature_names(len(model.autoencoder.token_grids))
    self._tally = fetch_lib.Tally(source)

  def __call__(self, numbers: range, bar) -> Iterator[dict[str, Any]]:
    with packages.required_for('reading images'):
      import grain

    size = self._batch_size
    batches = iter(
      grain.MapDataset.range(math.ceil(len(numbers) / size))
      .map(lambda i: self._read(numbers[i * size : (i + 1) * size]))
      .to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=2))
    )
    try:
      for batch, readable, rows, errors in batches:
        self._tally.add(errors)
        image = batch['image']
        if self._sharding is not None:
          image = jax.device_put(image, self._sharding)
        found = self._encode(image)
        parts = found if isinstance(found, tuple) else (found,)
        parts = tuple(np.asarray(part) for part in parts)
        for j in np.flatnonzero(readable):
          grids = zip(self._names, parts, strict=True)
          yield {
            **{name: part[j] for name, part in grids},
            'label': int(batch['label'][j]),
            'index': int(rows[j] % len(self._source)),
            'pass': int(rows[j] // len(self._source)),
          }
        bar.update(len(readable))
    finally:
      batches.close()

  def _read(self, numbers: range):
    """Reads a full batch; rows beyond `numbers` count as not readable."""
    rows = np.arange(numbers.start, numbers.start + self._batch_size)
    rows = np.minimum(rows, numbers.stop - 1)
    inside = np.arange(self._batch_size) < len(numbers)
    parts, errors = [], []
    passes = rows // len(self._source)
    # A batch may hold the end of one pass and the start of the next.
    for number in np.unique(passes):
      own = rows[passes == number]
      fetch = self._fetches[min(number, len(self._fetches) - 1)]
      batch, readable, failed = fetch(own, own % len(self._source))
      parts.append({**batch, 'readable': readable})
      errors.extend(failed)
    joined = {
      name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }
    return joined, joined['readable'] & inside, rows, tuple(errors)


def _preprocess_of_passes(
  model: Model, passes: int, splits: Mapping[str, str]
) -> list[tuple[Preprocess, ...]]:
  """Returns the preprocessing of the first pass and that of further ones."""
  if model.prior is not None or not model.autoencoder.token_grids:
    raise ValueError(
      'tokens come from an autoencoder with a quantizer; this run holds '
      f'{"a prior" if model.prior is not None else "none"}. Give the run of a '
      'tokenizer.'
    )
  first, further = model.info.preprocess, model.info.data.preprocess
  if passes == 1:
    return [first]
  if passes > 1 and 'train' not in splits:
    raise ValueError(
      f'{passes} passes are made of the split train, which is not among '
      f'{", ".join(splits)}. Name it, as in train=test[:50%], or leave passes '
      'out.'
    )
  if not any(getattr(step, 'random', False) for step in further):
    raise ValueError(
      f'{passes} passes would all be the same: the preprocessing of the '
      'training of this run is not random. Leave passes out.'
    )
  return [first, further]


def _make_record(
  model: Model,
  sources: Mapping[str, data.Source],
  passes: int,
  seed: int,
  shard_size: int,
) -> dict[str, Any]:
  """Returns the description of the tokens, which is written beside them."""
  grids = model.autoencoder.token_grids
  first = next(iter(sources.values()))
  shape = _image_shape(model, first)
  preprocess = (model.info.preprocess, model.info.data.preprocess)
  return {
    'tokenizer': export.fingerprint(model),
    'examples': {split: len(source) for split, source in sources.items()},
    'preprocess': [list(map(repr, p)) for p in preprocess[: min(passes, 2)]],
    'passes': passes,
    'seed': seed,
    'shard_size': shard_size,
    'image_shape': shape,
    'class_names': list(first.class_names),
    'tokens': {
      name: list(grid.shape(*shape[:2]))
      for name, grid in zip(
        tokens_lib.feature_names(len(grids)), grids, strict=True
      )
    },
  }


def _image_shape(model: Model, source: data.Source) -> list[int]:
  """Returns the shape of the source's images as the tokenizer sees them."""
  batches = data.eval_batches(
    source, batch_size=1, preprocess=model.info.preprocess, limit=1
  )
  return [int(n) for n in next(iter(batches))['image'].shape[1:]]


def _progress(total: int, name: str):
  import tqdm

  return tqdm.tqdm(
    total=total, desc=name, unit=' images', disable=jax.process_index() > 0
  )
