"""Images -> tokens on disk, so that a prior learns without its tokenizer.

See `vq_jax.data.tokens` for what is written.
"""

import functools
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vq_jax import data
from vq_jax.config import registry
from vq_jax.data import fetch as fetch_lib
from vq_jax.data import tokens as tokens_lib
from vq_jax.model import Model
from vq_jax.utils import fields
from vq_jax.utils import images
from vq_jax.utils import trees

SHARD = 4096  # examples in a file
_PREPROCESS = ('eval_preprocess', 'train_preprocess')  # of first, other passes


def fingerprint(model: Model) -> str:
  """Returns what tells a model's autoencoder from all others.

  It is made of the spec and the weights.
  """
  digest = hashlib.sha256()
  spec = model.autoencoder_config['card']['model']
  digest.update(json.dumps(spec, sort_keys=True).encode())
  leaves = trees.flatten(model.variables['autoencoder'])
  for name in sorted(leaves):
    value = np.asarray(leaves[name])
    digest.update(f'{name} {value.dtype} {value.shape}'.encode())
    digest.update(np.ascontiguousarray(value).tobytes())
  return digest.hexdigest()


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
  shard_size: fields.PositiveInt = SHARD,
) -> dict[str, int]:
  """Writes the tokens of a data set; goes on where it was stopped.

  The first pass sees each image as the run's evaluation does, further ones as
  its training does, each time with other chance. Only the split `train` gets
  further ones: what is held out is judged as it is. An image that cannot be
  read is left out.

  Args:
    model: an autoencoder with a quantizer.
    out: the folder to write.
    source: see `vq_jax.data.open_source`.
    splits: name of a split to write -> split of the source, such as
      `{'train': 'train[:95%]', 'test': 'train[95%:]'}`; by default 'train'.
    data_dir: where TFDS keeps its data sets.
    passes: how often each image of `train` is encoded.
    seed: of the chance in further passes.
    batch_size: images encoded at a time.
    shard_size: examples in a file.

  Returns:
    the number of examples of each split.

  Raises:
    ValueError: if a number is out of range, the model has no quantizer, or
      passes would not differ.
    DataError: if the folder holds something else, or cannot be written to.
  """
  out = pathlib.Path(out).expanduser()
  splits = {'train': 'train'} if splits is None else dict(splits)
  steps = _steps(model, passes, splits)
  opened = _opened(model, source, splits, data_dir)
  record = _record(model, opened, passes, seed, shard_size)
  record |= {'source': source, 'splits': splits}
  tokens_lib.claim(out, record)
  features = tokens_lib.make_features(record)
  paths = {
    split: _write_split(
      _Encode(model, images_of, steps, seed, min(batch_size, shard_size)),
      functools.partial(tokens_lib.shard_path, out, split),
      features,
      total=len(images_of) * (passes if split == 'train' else 1),
      shard_size=shard_size,
    )
    for split, images_of in opened.items()
  }
  tokens_lib.write_metadata(out, features, paths)
  tokens_lib.write_record(out, {**record, 'complete': True})
  return {split: len(tokens_lib.TokenSource(out, split)) for split in splits}


def _opened(model, source, splits, data_dir) -> dict[str, data.Source]:
  """Opens the parts of a source, by the name each is written under."""
  for name in splits:
    if not name.isidentifier():
      raise data.DataError(
        f'a split to write needs a plain name such as train; got {name!r}. '
        'Say which part of the source it is after it: train=train[:95%].'
      )
  return {
    name: data.require_images(
      data.open_source(
        source,
        part,
        data_dir=data_dir,
        channels=model.config['data']['image_shape'][-1],
      )
    )
    for name, part in splits.items()
  }


def _write_split(
  encode, path_of, features, *, total: int, shard_size: int
) -> list[pathlib.Path]:
  """Writes the shards of a split that are not there yet; returns all."""
  shards = math.ceil(total / shard_size)
  paths = [path_of(i, shards) for i in range(shards)]
  with _progress(total, encode.name) as bar:
    for i, path in enumerate(paths):
      places = range(i * shard_size, min((i + 1) * shard_size, total))
      if not path.exists():
        tokens_lib.write_shard(path, features, encode(places, bar))
      bar.n = places.stop
      bar.refresh()
  return paths


class _Encode:
  """Places in the passes over a source -> examples with their tokens."""

  def __init__(self, model, source, steps, seed, batch_size):
    self.name = source.name
    self._source = source
    self._batch_size = batch_size
    self._fetches = [
      fetch_lib.Fetch(source=source, preprocess=chain, seed=seed)
      for chain in steps
    ]
    self._apply = functools.partial(
      _indices, model.autoencoder, model.variables['autoencoder']
    )
    self._names = tokens_lib.feature_names(len(model.autoencoder.token_grids))
    self._tally = fetch_lib.Tally(source)

  def __call__(self, places: range, bar) -> Iterator[dict[str, Any]]:
    import grain

    size = self._batch_size
    batches = iter(
      grain.MapDataset.range(math.ceil(len(places) / size))
      .map(lambda i: self._read(places[i * size : (i + 1) * size]))
      .to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=2))
    )
    try:
      for batch, readable, rows, errors in batches:
        self._tally.add(errors)
        found = self._apply(batch['image'])
        parts = found if isinstance(found, tuple) else (found,)
        parts = [np.asarray(part) for part in parts]
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

  def _read(self, places: range):
    """Reads a batch of one size; rows beyond `places` are not readable."""
    rows = np.arange(places.start, places.start + self._batch_size)
    rows = np.minimum(rows, places.stop - 1)
    inside = np.arange(self._batch_size) < len(places)
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


@functools.partial(jax.jit, static_argnums=0)
def _indices(autoencoder, variables, image):
  image = images.to_float(image)
  return autoencoder.apply(variables, image, method='encode').indices


def _steps(model: Model, passes: int, splits: Mapping[str, str]) -> list[tuple]:
  """Returns the preprocessing of the first pass and that of further ones."""
  if model.prior is not None or not model.autoencoder.token_grids:
    raise ValueError(
      'tokens come from an autoencoder with a quantizer; this run holds '
      f'{"a prior" if model.prior is not None else "none"}. Give the run of a '
      'tokenizer.'
    )
  card = model.config['card'].get('data', {})
  first, further = (registry.preprocess(card.get(k, ())) for k in _PREPROCESS)
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
      f'{passes} passes would all be the same: nothing in the train_preprocess '
      "of this run's card is random. Leave passes out."
    )
  return [first, further]


def _record(model, opened, passes, seed, shard_size) -> dict[str, Any]:
  grids = model.autoencoder.token_grids
  first = next(iter(opened.values()))
  shape = _image_shape(model, first)
  card = model.config['card'].get('data', {})
  return {
    'tokenizer': fingerprint(model),
    'model': model.config['card']['model'],
    'examples': {split: len(found) for split, found in opened.items()},
    'preprocess': [
      list(card.get(name, ())) for name in _PREPROCESS[: min(passes, 2)]
    ],
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
  card = model.config['card'].get('data', {})
  batches = data.eval_batches(
    source,
    batch_size=1,
    preprocess=registry.preprocess(card.get('eval_preprocess', ())),
    limit=1,
  )
  return [int(n) for n in next(iter(batches))['image'].shape[1:]]


def _progress(total: int, name: str):
  import tqdm

  return tqdm.tqdm(total=total, desc=name, unit=' images')
