"""The peak memory of evaluations of more and more images.

    python -m tests.benchmarks.evaluation_memory --nums 5000 20000 50000

Each number of images is evaluated in a process of its own, against statistics,
with random images and a random projection to as many features as asked for.
Prints the peak resident memory, and the sizes of the images and of the features
that would otherwise be in memory.
"""

import argparse
import functools
import multiprocessing
import pathlib
import resource
import sys
import tempfile

SIZE = 32


def measure(count: int, width: int) -> int:
  """Returns the peak memory of one evaluation in bytes."""
  import jax
  import numpy as np

  from vq_jax import evaluation
  from vq_jax import features
  from vq_jax.evaluation import choosing
  from vq_jax.evaluation import core
  from vq_jax.evaluation import metric_table

  class Images(evaluation.ImageSet):
    """Random images."""

    name, image_shape = f'{count} random images', (SIZE, SIZE, 3)

    def __len__(self):
      return count

    def describe(self):
      return {'count': count}

    def batches(self, rows, batch_size):
      for start in range(rows.start, rows.stop, batch_size):
        stop = min(start + batch_size, rows.stop)
        rng = np.random.default_rng(start)
        shape = (stop - start, *self.image_shape)
        yield {'image': rng.integers(0, 256, shape, np.uint8)}

  matrix = np.random.default_rng(0).normal(size=(SIZE * SIZE * 3, width))
  matrix = jax.numpy.asarray(matrix / 2**14, 'float32')

  def project(matrix, images):
    found = images.reshape(len(images), -1) @ matrix
    return {'pooled': found, 'spatial': found, 'logits': found[:, :100]}

  extractor = features.FeatureExtractor(
    name='random projection',
    checksum=None,
    resizer='none',
    outputs=('pooled', 'spatial', 'logits'),
    resize=lambda images: images.astype('float32'),
    apply=functools.partial(jax.jit(project), matrix),
  )
  options = evaluation.EvaluationOptions(metrics=('fid', 'sfid', 'is'))
  with tempfile.TemporaryDirectory() as name:
    path = pathlib.Path(name) / 'statistics.npz'
    np.savez(
      path,
      **{'mu': np.zeros(width), 'sigma': np.eye(width)},
      **{'mu_s': np.zeros(width), 'sigma_s': np.eye(width)},
    )
    sets = core.Sets(images=Images(), reference=evaluation.open_reference(path))
    chosen = choosing.choose_metrics(
      options, metric_table.METRICS, sets.images, sets.reference, extractor
    )
    core.evaluate('comparison', sets, chosen, options, pathlib.Path(name))
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(argv: list[str] | None = None) -> int:
  """Runs the benchmark; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument(
    '--nums', type=int, nargs='+', default=[5_000, 20_000, 50_000]
  )
  parser.add_argument('--width', type=int, default=512, help='of the features')
  arguments = parser.parse_args(argv)
  context = multiprocessing.get_context('spawn')
  print('images  peak MB  images MB  features MB')
  for count in arguments.nums:
    with context.Pool(1) as pool:
      peak = pool.apply(measure, (count, arguments.width))
    images = count * SIZE * SIZE * 3 / 1e6
    stored = count * 4 * (2 * arguments.width + 100) / 1e6
    print(
      f'{count:6}  {peak / 1e6:7.0f}  {images:9.0f}  {stored:11.0f}',
      flush=True,
    )
  return 0


if __name__ == '__main__':
  sys.exit(main())
