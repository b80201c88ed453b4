"""Tokenizers trained with L2, LPIPS and a discriminator, on 64 x 64 images.

    python -m tests.benchmarks.compare_image_losses IMAGES \
        --workdir runs/image_losses

IMAGES is the folder that `prepare_images` writes. Trains a small VQGAN and a
small ViT-VQGAN to 16 x 16 codes, each with L2 alone, with L2 and LPIPS, and
with a discriminator too, for equal numbers of steps. Evaluates the
reconstructions of all test images by PSNR, LPIPS (AlexNet, which no run is
trained with) and the Frechet distance of EfficientNet-Lite0's features, next to
the distance between two halves of the test images. Writes `table.md`,
`start.md` (metrics before and after the adversarial loss becomes active), an
image grid of each run, and `emoji.png`: emoji and below them the
reconstructions of each run, in the order of the table. Stopped or killed, the
same command goes on.
"""

import argparse
import pathlib
import sys

import jax
import numpy as np

import vq_jax
from train import config as config_lib
from train import errors
from train import loop
from train.logging import writers
from vq_jax import data
from vq_jax import features
from vq_jax import losses
from vq_jax import metrics
from vq_jax.metrics import frechet
from vq_jax.utils import images
from vq_jax.utils import paths

MODELS = {
  'VQGAN': {
    'type': 'vqgan_taming',
    'channels': 16,
    'multipliers': (1, 2, 4),
    'blocks': 1,
    'attention_strides': (),
    'z_channels': 64,
    'groups': 8,
    'quantizer': {
      'type': 'ema_vq',
      'codebook_size': 512,
      'code_dim': 32,
      'kmeans_iterations': 10,
      'dead_code_threshold': 0.05,
    },
  },
  'ViT-VQGAN': {
    'type': 'vit_vqgan',
    'patch': 4,
    'overlap': 2,
    'transformer': {
      'layers': 4,
      'width': 128,
      'heads': 4,
      'mlp_width': 512,
      'scan': False,
    },
    'quantizer': {
      'type': 'factorized_vq',
      'codebook_size': 512,
      'code_dim': 16,
      'kmeans_iterations': 10,
      'dead_code_threshold': 0.05,
    },
  },
}
ADVERSARY = {
  'discriminator': {'type': 'patchgan', 'channels': 32, 'layers': 3},
  'loss': 'hinge',
  'weight': 0.2,
  'adaptive': True,
  'optim': {'learning_rate': 2e-4, 'b1': 0.5, 'b2': 0.9},
  'warmup': {'percent': 10},
}
LOSSES = {
  'L2': {'l2': 4.0},
  'L2 + LPIPS': {'l2': 4.0, 'lpips': 0.2},
  'L2 + LPIPS + adversary': {'l2': 4.0, 'lpips': 0.2},
}
BATCH = 8
START = 0.5  # of the training; the discriminator learns from 0.4 on


def make_config(model: str, loss: str, folder: pathlib.Path, steps: int):
  """Returns the config of a folder's tokenizer, changed."""
  config = config_lib.load_config('configs/folder_tokenizer.py')
  config['model'] = MODELS[model]
  config['loss'] = {**LOSSES[loss], 'quantizer': 1.0}
  if 'adversary' in loss:
    config['adversary'] = {
      **ADVERSARY,
      'start': {'steps': round(START * steps)},
      'discriminator_start': {'steps': round(0.8 * START * steps)},
    }
  config['data'].update(
    source=f'folder:{folder}',
    train_split='train',
    eval_split='test',
    batch_size=BATCH,
    eval_batch_size=BATCH,
    eval_limit=160,
    in_memory=True,
    train_preprocess=({'type': 'random_flip'},),
    eval_preprocess=(),
  )
  config['optim']['learning_rate'] = 5e-4
  config['optim']['warmup'] = {'percent': 4}
  config['train']['total_steps'] = steps
  config['train']['log_every'] = {'percent': 1}
  config['train']['eval_every'] = {'percent': 5}
  config['train']['save_every'] = {'percent': 10}
  return config


class Evaluator:
  """Evaluates the reconstructions of all test images."""

  def __init__(self, folder: pathlib.Path):
    """Loads the test images and the networks."""
    source = data.in_memory(
      data.open_source(f'folder:{folder}', 'test', channels=3)
    )
    self.real = source.images
    self.emoji = np.array(source.class_names)[source.labels] == 'emoji'
    self._distance, self._weights = losses.load_lpips('alexnet')
    network, variables = features.load('efficientnet_lite0')
    self._network, self._variables = jax.jit(network.apply), variables
    self._seen = self._features(self.real)
    halves = [frechet.fit(self._seen[i::2]) for i in (0, 1)]
    self.floor = frechet.frechet_distance(*halves)

  def __call__(self, reconstructed: np.ndarray) -> dict[str, float]:
    """Returns the figures of reconstructions, float [N, H, W, 3]."""
    reconstructed = np.clip(reconstructed, 0, 1)
    mse = np.square(images.to_float(self.real) - reconstructed).mean()
    lpips = jax.jit(self._distance.apply)
    distances = [
      lpips(self._weights, images.to_float(self.real[i : i + 50]), some)
      for i, some in (
        (i, reconstructed[i : i + 50]) for i in range(0, len(reconstructed), 50)
      )
    ]
    return {
      'psnr': float(metrics.psnr_from_mse(mse)),
      'lpips': float(np.concatenate(distances).mean()),
      'frechet': frechet.frechet_distance(
        frechet.fit(self._features(reconstructed)), frechet.fit(self._seen)
      ),
    }

  def _features(self, batch: np.ndarray) -> np.ndarray:
    parts = [
      self._network(self._variables, images.to_float(batch[i : i + 50]))[1]
      for i in range(0, len(batch), 50)
    ]
    return np.concatenate(parts)


def reconstruct(folder: pathlib.Path, batch: np.ndarray) -> np.ndarray:
  """Returns the reconstructions of a run, float32 [N, H, W, 3]."""
  model = vq_jax.load(folder)
  parts = [batch[i : i + 50] for i in range(0, len(batch), 50)]
  return np.concatenate([np.asarray(model.reconstruct(x)) for x in parts])


def write_grid(path: pathlib.Path, *batches: np.ndarray) -> None:
  """Writes an image grid with 16 of the N images of each batch in a row."""
  shown = np.linspace(0, len(batches[0]) - 1, 16).astype(int)
  rows = images.stack_rows(*(batch[shown] for batch in batches))
  images.save_image(path, images.grid(rows, columns=len(shown)))


def line(name: str, folder: pathlib.Path, found: dict[str, float]) -> str:
  """Returns a run's line of the table."""
  last = writers.last_evaluation(folder)
  return (
    f'| {name} | {found["psnr"]:.2f} | {found["lpips"]:.3f} | '
    f'{found["frechet"]:.1f} | {last["dataset_usage"]:.0%} |'
  )


def around_the_start(folder: pathlib.Path, steps: int) -> str:
  """Returns the metrics of the test images near the adversarial start."""
  lines = [
    '| step | PSNR | LPIPS (VGG16) | logits of real | of reconstructed | '
    'weight |',
    '|---|---|---|---|---|---|',
  ]
  records = writers.read_metrics(folder)
  train = {r['step']: r for r in records if r['kind'] == 'train'}
  for record in records:
    near = abs(record['step'] - START * steps) <= 0.3 * steps
    if record['kind'] == 'eval' and near:
      beside = train[record['step']]
      cells = [
        f'{beside[name]:.3f}' if name in beside else ''
        for name in ('logits_real', 'logits_fake', 'adversarial_weight')
      ]
      lines.append(
        f'| {record["step"]:,} | {record["psnr"]:.2f} | '
        f'{record["lpips"]:.3f} | {" | ".join(cells)} |'
      )
  return '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('images', type=pathlib.Path)
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--steps', type=int, default=2000, help='of each run')
  arguments = parser.parse_args(argv)
  workdir, steps = arguments.workdir, arguments.steps

  def go():
    runs = {}
    for model in MODELS:
      for loss in LOSSES:
        name = f'{model}, {loss}'
        runs[name] = workdir / name.replace(', ', '_').replace(' + ', '_')
        config = make_config(model, loss, arguments.images, steps)
        loop.train(config, runs[name])
    evaluator = Evaluator(arguments.images)
    lines = [
      '| | PSNR, dB | LPIPS | Frechet distance | usage |',
      '|---|---|---|---|---|',
    ]
    emoji = [evaluator.real[evaluator.emoji]]
    for name, folder in runs.items():
      reconstructed = reconstruct(folder, evaluator.real)
      lines.append(line(name, folder, evaluator(reconstructed)))
      write_grid(folder.with_suffix('.png'), evaluator.real, reconstructed)
      emoji.append(reconstructed[evaluator.emoji])
    if evaluator.emoji.any():
      write_grid(workdir / 'emoji.png', *emoji)
    lines.append(
      f'| one half of the images to the other | | | {evaluator.floor:.1f} | |'
    )
    starts = [
      f'{name}\n\n{around_the_start(folder, steps)}'
      for name, folder in runs.items()
      if 'adversary' in name
    ]
    for name, text in (
      ('table.md', '\n'.join(lines) + '\n'),
      ('start.md', '\n'.join(starts)),
    ):
      paths.write_text(workdir / name, text)
      print(text)

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
