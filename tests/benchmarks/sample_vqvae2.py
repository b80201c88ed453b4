"""VQ-VAE-2 from images to samples, on the embedded Fashion-MNIST.

    python -m tests.benchmarks.sample_vqvae2 --workdir runs/vqvae2_fashion

Trains an autoencoder with token grids of 7 x 7 and 14 x 14 and a PixelSNAIL for
each. Samples 1,000 images from both, without and with guidance, and evaluates
them by a small classifier of real images. Writes `figures.json` and two grids.
Stopped or killed, the same command goes on. A CPU core takes half an hour.
"""

import argparse
import json
import pathlib
import sys

import vq_jax
from train import config as config_lib
from train import errors
from train import loop
from train import quickstart
from train.logging import writers
from vq_jax import samplers
from vq_jax.utils import paths

STEPS = {'codes': 3000, 'top': 6000, 'bottom': 4000}
CODES = {
  'type': 'vqvae2',
  'strides': (2, 2),
  'channels': 32,
  'residual_channels': 32,
  'image_channels': 1,
  'quantizer': {
    'type': 'ema_vq',
    'codebook_size': 256,
    'code_dim': 16,
    'decay': 0.99,
    'kmeans_iterations': 5,
    'dead_code_threshold': 0.1,
  },
}
TOP = {
  'type': 'pixelsnail',
  'blocks': 2,
  'residual_layers': 2,
  'channels': 64,
  'residual_channels': 64,
  'kernel': 3,
  'heads': 4,
  'output_layers': 2,
  'dropout': 0.1,
}
BOTTOM = {**TOP, 'heads': 0, 'output_layers': 0, 'parent_layers': 3}


def autoencoder_config():
  """Returns the quickstart's config of a tokenizer, with two token grids."""
  config = config_lib.load_config('configs/quickstart_tokenizer.py')
  config['model'] = CODES
  config['data']['train_preprocess'] = ()
  config['optim']['learning_rate'] = 2e-3
  config['train']['total_steps'] = STEPS['codes']
  return config


def prior_config(
  model: dict, autoencoder: pathlib.Path, parent: pathlib.Path | None
):
  """Returns the quickstart's config of a prior, for one of the grids."""
  config = config_lib.load_config('configs/quickstart_maskgit.py')
  config['model'] = model
  config['level'] = 0 if parent is None else 1
  config['parent_prior'] = None if parent is None else str(parent)
  config['loss'] = {'label_drop': 0.1}
  config['sampler'] = {'guidance': 0.0}
  config['autoencoder'] = str(autoencoder)
  config['data']['batch_size'] = 32
  config['optim']['ema_decay'] = 0.999
  config['train']['total_steps'] = STEPS['bottom' if parent else 'top']
  config['train']['num_images'] = 0 if parent is None else 40
  return config


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  arguments = parser.parse_args(argv)
  workdir = arguments.workdir
  codes, top, bottom = (workdir / name for name in STEPS)

  def go():
    psnr = loop.train(autoencoder_config(), codes)['psnr']
    loop.train(prior_config(TOP, codes, None), top)
    loop.train(prior_config(BOTTOM, codes, top), bottom)
    figures = {'psnr': psnr}
    for folder in (top, bottom):
      bits = writers.last_evaluation(folder)['bits_per_token']
      figures[f'bits_per_token_{folder.name}'] = bits
    for name, sampling in (
      ('as_they_come', {}),
      ('guided', {'guidance': 3.0, 'temperature': 0.9}),
    ):
      model = vq_jax.load(bottom)
      chosen = [
        samplers.with_options(level.sampler, sampling) for level in model.levels
      ]
      figures[name] = quickstart.evaluate(model, workdir, sampler=chosen)
      (workdir / 'samples.png').rename(workdir / f'{name}.png')
    text = json.dumps(figures, indent=2) + '\n'
    paths.write_text(workdir / 'figures.json', text)
    print(text)

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
