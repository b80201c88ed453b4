"""The speed of an evaluation, beside the usual one in PyTorch.

    python -m tests.benchmarks.evaluate_images

Both ways compute the FID of 1,000 images of 256 x 256 pixels against the same
statistics, with an Inception-v3 of equal random weights, in float32, in batches
of one size, in one process and in turns. One way is `compare_image_sets`, from
an .npz file, with its digests and files of features. The other is pytorch-fid's
order of work on images that are in memory: bilinear resizing, the network,
NumPy's covariance, and SciPy's matrix square root. The first round contains the
compilation. Needs torch.

Prints the images per second of each round, their ratio and both distances.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

import jax
import numpy as np
import scipy.linalg
import torch

from tests.golden import inception as golden
from vq_jax import evaluation
from vq_jax.features import extractors
from vq_jax.features import inception
from vq_jax.features import inception_loading
from vq_jax.utils import cpu

SIZE, WIDTH = 256, 2048


def make_images(count: int) -> np.ndarray:
  """Returns smooth random images, uint8 [count, SIZE, SIZE, 3]."""
  rng = np.random.default_rng(0)
  small = rng.uniform(0, 256, (count, 8, 8, 3)).astype(np.float32)
  small = torch.from_numpy(small).permute(0, 3, 1, 2)
  parts = [
    torch.nn.functional.interpolate(part, (SIZE, SIZE), mode='bilinear')
    for part in small.split(100)
  ]
  return np.concatenate(
    [part.permute(0, 2, 3, 1).numpy().astype(np.uint8) for part in parts]
  )


def make_extractor(arrays: dict) -> extractors.FeatureExtractor:
  """Returns ours, with the weights of a state dict."""
  network = inception.InceptionV3(value_range=(-1.0, 1.0))
  variables = inception_loading.convert(arrays, network)
  return extractors.from_network(
    network,
    variables,
    lambda network, variables, images: network.apply(variables, images / 255),
    name='inception of random weights',
    checksum=None,
    size=(inception.SIZE,) * 2,
    resizer='pytorch',
  )


def evaluate_with_torch(
  arrays: dict, images: np.ndarray, statistics: dict, batch_size: int
) -> float:
  """Returns the FID as pytorch-fid computes it."""
  features = []
  for start in range(0, len(images), batch_size):
    batch = torch.from_numpy(images[start : start + batch_size])
    batch = batch.permute(0, 3, 1, 2).float() / 255
    batch = torch.nn.functional.interpolate(
      batch, (inception.SIZE,) * 2, mode='bilinear', align_corners=False
    )
    pixels = (2 * batch - 1).permute(0, 2, 3, 1).numpy()
    features.append(golden.torch_inception(arrays, pixels)['pooled'])
  features = np.concatenate(features).astype(np.float64)
  mean, covariance = features.mean(axis=0), np.cov(features, rowvar=False)
  root = scipy.linalg.sqrtm(covariance @ statistics['sigma'])
  difference = mean - statistics['mu']
  traces = np.trace(covariance) + np.trace(statistics['sigma'])
  return float(difference @ difference + traces - 2 * np.trace(root).real)


def evaluate_with_ours(
  extractor: extractors.FeatureExtractor,
  folder: pathlib.Path,
  batch_size: int,
) -> float:
  """Returns the FID of `compare_image_sets`."""
  options = evaluation.EvaluationOptions(
    metrics=('fid',), batch_size=batch_size
  )
  record = evaluation.compare_image_sets(
    folder / 'images.npz',
    folder / 'statistics.npz',
    folder / 'work',
    options,
    extractor=extractor,
  )
  return record.value('fid')


def main(argv: list[str] | None = None) -> int:
  """Runs the benchmark; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--num', type=int, default=1000)
  parser.add_argument('--batch-size', type=int, default=64)
  parser.add_argument('--rounds', type=int, default=2)
  parser.add_argument(
    '--threads', type=int, default=os.cpu_count(), help='of PyTorch'
  )
  parser.add_argument(
    '--devices', type=int, help='of JAX; by default as vqjax evaluate has them'
  )
  arguments = parser.parse_args(argv)
  torch.set_num_threads(arguments.threads)
  if arguments.devices is not None:
    jax.config.update('jax_num_cpu_devices', arguments.devices)
  cpu.use_cpu_cores(arguments.batch_size)
  golden.WIDTH, golden.CLASSES = 1, 1008
  arrays, images = golden.state(), make_images(arguments.num)
  extractor = make_extractor(arrays)
  rng = np.random.default_rng(1)
  reference = rng.normal(0.5, 0.1, (2 * WIDTH, WIDTH))
  statistics = {
    'mu': reference.mean(axis=0),
    'sigma': np.cov(reference, rowvar=False),
  }
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    np.savez(folder / 'images.npz', images)
    np.savez(folder / 'statistics.npz', **statistics)
    print('round  torch images/s  ours images/s  ratio  torch FID  our FID')
    for number in range(arguments.rounds):
      start = time.perf_counter()
      theirs = evaluate_with_torch(
        arrays, images, statistics, arguments.batch_size
      )
      between = time.perf_counter()
      ours = evaluate_with_ours(extractor, folder, arguments.batch_size)
      end = time.perf_counter()
      rates = [arguments.num / t for t in (between - start, end - between)]
      print(
        f'{number:5}  {rates[0]:14.2f}  {rates[1]:13.2f}  '
        f'{rates[1] / rates[0]:5.2f}  {theirs:9.4f}  {ours:7.4f}',
        flush=True,
      )
  return 0


if __name__ == '__main__':
  sys.exit(main())
