"""Measures the speed of everything that this library computes.

    python -m tests.benchmarks.all --quick --json speed.json
    python -m tests.benchmarks.all --quick --peer --only VQGAN

With `--quick`, in less than ten minutes on two cores: a training step of each
family at a size that a CPU can train, with its compilation and memory;
sampling; images to tokens and back; the search for codes; and the reading of
images. Without it, all that `tests.benchmarks.accelerator` measures comes on
top. See docs/results/speed.md for the columns of the table.
"""

import sys

from tests.benchmarks import accelerator
from tests.benchmarks.speed import items
from tests.benchmarks.speed import peers
from tests.benchmarks.speed import pipeline
from tests.benchmarks.speed import runner
from tests.benchmarks.speed.items import Model

PROGRAM = runner.Program(
  module='tests.benchmarks.all',
  description='Measure the speed of everything that this library computes.',
  minutes=30,
  summarize=pipeline.compare_with_steps,
)
QUICK_MINUTES = 10
_SMALL = {'layers': 6, 'width': 256, 'heads': 4, 'mlp_width': 1024}
_TRANSFORMER = ('model.transformer',)


def _images(size: int) -> dict:
  """Returns the config section `data` of images of a size."""
  return {'eval_preprocess': ({'type': 'center_crop', 'size': size},)}


VQGAN = Model(
  config='vqgan_f16_1024_imagenet256',
  changes={
    'data': _images(64),
    'model': {
      'channels': 32,
      'multipliers': (1, 2, 4),
      'blocks': 1,
      'z_channels': 64,
      'attention_strides': (),
      'groups': 8,
      'quantizer': {'code_dim': 64},
    },
    'adversary': {
      'discriminator': {'channels': 32},
      'update': 'simultaneous',
    },
  },
  dtypes=('model', 'adversary.discriminator'),
  batch=8,
  cpu_batch=8,
)
TRAINING = {
  'VQ-VAE, 32 x 32': Model(config='vqvae_cifar10', batch=32, cpu_batch=32),
  'VQGAN, 64 x 64': VQGAN,
  'ViT-VQGAN, 64 x 64': Model(
    config='vit_vqgan_small_imagenet256',
    changes={
      'data': _images(64),
      'model': {'transformer': {**_SMALL, 'remat': False}},
      'adversary': {
        'discriminator': {'channels': 32, 'multipliers': (1, 2, 4, 4)}
      },
    },
    dtypes=('model.transformer', 'adversary.discriminator'),
    batch=8,
    cpu_batch=8,
  ),
  'MaskGIT, 16 x 16': Model(
    config='maskgit_imagenet256',
    changes={'model': {'transformer': _SMALL}},
    dtypes=_TRANSFORMER,
    tokens=True,
    batch=16,
    cpu_batch=16,
  ),
  'autoregressive transformer, 16 x 16': Model(
    config='vqgan_transformer_f16_1024_imagenet256',
    changes={'model': {'transformer': _SMALL}},
    dtypes=_TRANSFORMER,
    tokens=True,
    batch=16,
    cpu_batch=16,
  ),
  'PixelCNN, 8 x 8': Model(
    config='pixelcnn_cifar10', tokens=True, batch=64, cpu_batch=64
  ),
}
SAMPLING = {
  'MaskGIT, 16 x 16, 8 steps': TRAINING['MaskGIT, 16 x 16'],
  'autoregressive transformer, 16 x 16': TRAINING[
    'autoregressive transformer, 16 x 16'
  ],
  'PixelCNN, 8 x 8': TRAINING['PixelCNN, 8 x 8'],
}


def get_items(*, quick: bool) -> list[items.Item]:
  """Returns everything that is measured."""
  found = [
    items.make_training_item(f'training step: small {name}', model)
    for name, model in TRAINING.items()
  ]
  found += [
    items.make_sampling_item(f'sampling: small {name}', model)
    for name, model in SAMPLING.items()
  ]
  found += items.make_codec_items('small VQGAN, 64 x 64', VQGAN)
  found.append(items.make_search_item(1024, 64, vectors=16_384))
  found.append(pipeline.ITEM)
  found.append(
    peers.make_item('training step: small VQGAN', VQGAN, peers.train_vqgan)
  )
  return found if quick else found + accelerator.get_items()


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  arguments = PROGRAM.make_parser().parse_args(argv)
  if arguments.quick:
    arguments.minutes = min(arguments.minutes, QUICK_MINUTES)
  quick = arguments.quick or arguments.smoke
  return PROGRAM.run(get_items(quick=quick), arguments)


if __name__ == '__main__':
  sys.exit(main())
