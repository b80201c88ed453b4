"""Metrics of reconstructions: each image against its reconstruction."""

from collections.abc import Sequence

import numpy as np

from vq_jax import autoencoders
from vq_jax import metrics as metrics_lib
from vq_jax.autoencoders.base import MAX_COUNTED_CODES
from vq_jax.evaluation import metric_table
from vq_jax.metrics import rows as rows_lib


def _image_mean(name: str, bounds: metric_table.Bounds) -> metric_table.Metric:
  def compute(inputs: metric_table.Inputs) -> dict[str, metric_table.Value]:
    return {name: metric_table.mean(inputs.images.rows(name))}

  return metric_table.Metric(
    compute=compute, arrays=(name,), ranges={name: bounds}, extractor=None
  )


def _psnr(inputs: metric_table.Inputs) -> dict[str, metric_table.Value]:
  mse = metric_table.mean(inputs.images.rows('mse'))
  per_image = metric_table.mean(inputs.images.rows('psnr_per_image'))
  psnr = float(metrics_lib.psnr_from_mse(np.float64(mse)))
  return {'psnr': psnr, 'psnr_per_image': per_image}


METRICS: dict[str, metric_table.Metric] = {
  'mse': _image_mean('mse', (0, 1)),
  'psnr': metric_table.Metric(
    compute=_psnr,
    arrays=('mse', 'psnr_per_image'),
    ranges={'psnr': (None, None), 'psnr_per_image': (None, None)},
    extractor=None,
  ),
  'ssim': _image_mean('ssim', (-1, 1)),
  'lpips': _image_mean('lpips', (0, None)),
}


def codebook(
  grids: Sequence[autoencoders.TokenGrid],
) -> metric_table.Metric:
  """Returns the metric of the codes that a data set uses.

  Args:
    grids: the token grids of the autoencoder. Those with more than
      `MAX_COUNTED_CODES` codes are left out.
  """
  suffixes = [f'_{i}' for i in range(len(grids))] if len(grids) > 1 else ['']
  counted = {
    suffix: grid
    for suffix, grid in zip(suffixes, grids, strict=True)
    if grid.codebook_size <= MAX_COUNTED_CODES
  }

  def compute(inputs: metric_table.Inputs) -> dict[str, metric_table.Value]:
    counts = {
      suffix: _count(inputs.images.rows(f'tokens{suffix}'), grid)
      for suffix, grid in counted.items()
    }
    stats = metrics_lib.codebook.dataset_stats(counts)
    return {name: float(value) for name, value in stats.items()}

  ranges: dict[str, metric_table.Bounds] = {}
  for suffix, grid in counted.items():
    ranges[f'dataset_usage{suffix}'] = (0, 1)
    ranges[f'dataset_perplexity{suffix}'] = (1, grid.codebook_size)
  return metric_table.Metric(
    compute=compute,
    arrays=tuple(f'tokens{suffix}' for suffix in counted),
    ranges=ranges,
    extractor=None,
  )


def _count(tokens: rows_lib.Rows, grid: autoencoders.TokenGrid) -> np.ndarray:
  """Counts the codes of each codebook, int64 [*index_shape, K]."""
  books = int(np.prod(grid.index_shape, dtype=np.int64))
  counts = np.zeros((books, grid.codebook_size), np.int64)
  for start in range(0, len(tokens), rows_lib.CHUNK):
    part = tokens[start : start + rows_lib.CHUNK].reshape(-1, books)
    for book in range(books):
      used = part[:, book][part[:, book] >= 0]
      counts[book] += np.bincount(used, minlength=grid.codebook_size)
  return counts.reshape(*grid.index_shape, grid.codebook_size)
