"""Checks and measures this library on the GPU or TPU at hand, in minutes.

    python -m tests.benchmarks.accelerator --minutes 8 --json speed.json
    python -m tests.benchmarks.accelerator --smoke   # tiny, on any machine

First a part of the tests runs on the device. Then come training steps at the
published sizes in bfloat16, with the largest batch of a power of two that fits;
sampling, tokenizing and the search for codes; and with `--peer` the same in
PyTorch, in turns. Each line has the images per second, and the operations of
matrix products and convolutions per second as a share of what a large product
of matrices reached in the same process. The last line is JSON. Neither data,
weights nor a network are needed. See docs/results/speed.md.
"""

import sys

from tests.benchmarks.speed import items
from tests.benchmarks.speed import laws
from tests.benchmarks.speed import peers
from tests.benchmarks.speed import runner
from tests.benchmarks.speed.items import Model

PROGRAM = runner.Program(
  module='tests.benchmarks.accelerator',
  description='Check and measure this library on the device at hand.',
  minutes=8,
)
_ADVERSARIAL = ('model', 'adversary.discriminator')
_VIT_ADVERSARIAL = ('model.transformer', 'adversary.discriminator')
_TRANSFORMER = ('model.transformer',)

TRAINING = {
  'MaskGIT 256': Model(
    config='maskgit_imagenet256', dtypes=_TRANSFORMER, tokens=True, batch=256
  ),
  'VQGAN f16': Model(
    config='vqgan_f16_1024_imagenet256', dtypes=_ADVERSARIAL, batch=32
  ),
  'ViT-VQGAN small': Model(
    config='vit_vqgan_small_imagenet256', dtypes=_VIT_ADVERSARIAL, batch=64
  ),
  'ViT-VQGAN base': Model(
    config='vit_vqgan_base_imagenet256', dtypes=_VIT_ADVERSARIAL, batch=64
  ),
  'VIM base': Model(
    config='vit_vqgan_vim_base_imagenet256',
    dtypes=_TRANSFORMER,
    tokens=True,
    batch=64,
  ),
}
SAMPLING = {
  'MaskGIT 256, 8 steps': Model(
    config='maskgit_imagenet256',
    changes={'sampler': {'steps': 8}},
    dtypes=_TRANSFORMER,
    tokens=True,
    batch=128,
  ),
  'autoregressive transformer, 16 x 16': Model(
    config='vqgan_transformer_f16_1024_imagenet256',
    dtypes=_TRANSFORMER,
    tokens=True,
    batch=128,
  ),
  'PixelCNN, 8 x 8': Model(config='pixelcnn_cifar10', tokens=True, batch=128),
  'PixelSNAIL, 32 x 32': Model(
    config='vqvae2_top_imagenet256', tokens=True, batch=64
  ),
}
TOKENIZERS = {
  'MaskGIT tokenizer': Model(config='maskgit_tokenizer_imagenet256', batch=64),
  'ViT-VQGAN base': Model(
    config='vit_vqgan_base_imagenet256', dtypes=_TRANSFORMER, batch=64
  ),
}


def get_items() -> list[items.Item]:
  """Returns everything that is measured, the most important first."""
  found = [laws.ITEM]
  found += [
    items.make_training_item(f'training step: {name}', model)
    for name, model in TRAINING.items()
  ]
  found += [
    items.make_sampling_item(f'sampling: {name}', model)
    for name, model in SAMPLING.items()
  ]
  for name, model in TOKENIZERS.items():
    found += items.make_codec_items(name, model)
  found += [
    items.make_search_item(codebook_size=8192, code_dim=32),
    items.make_search_item(codebook_size=16_384, code_dim=256),
  ]
  return found + peers.ITEMS


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  return PROGRAM.run(get_items(), PROGRAM.make_parser().parse_args(argv))


if __name__ == '__main__':
  sys.exit(main())
