"""Four priors of the same tokens at equal training time; MaskGIT's samplers.

    python -m tests.benchmarks.compare_priors --workdir runs/priors --minutes 10

Trains the quickstart's tokenizer, then on its tokens a PixelCNN, an
autoregressive transformer, and MaskGIT as published and in its modern form,
each for the number of steps that takes so many minutes, by a short trial. Then
samples from the modern MaskGIT in every order and with guidance 0 to 4. A small
classifier of real images evaluates 1,000 samples of each. Writes `priors.md`,
`samplers.md` and an image grid of each prior. Stopped or killed, the same
command goes on.
"""

import argparse
import pathlib
import sys
import time

import numpy as np

import vq_jax
from train import config as config_lib
from train import errors
from train import loop
from train import quickstart
from train.logging import writers
from vq_jax import samplers
from vq_jax.utils import paths

TRANSFORMER = {
  'layers': 4,
  'width': 128,
  'heads': 4,
  'mlp_width': 256,
  'dropout': 0.0,
  'scan': False,
}
MODERN = {
  'type': 'maskgit',
  'transformer': {
    **TRANSFORMER,
    'norm': 'pre',
    'norm_type': 'rms',
    'bias': False,
    'qk_norm': 'head',
    'activation': 'swiglu',
    'epsilon': 1e-6,
  },
  'conditioning': 'adaln_zero',
  'registers': 1,
  'embedding_norm': False,
  'head': 'norm',
}
CAUSAL = {
  'loss': {'label_drop': 0.1},
  'sampler': {'guidance': 1.0, 'guidance_schedule': 'constant'},
}
MASKED = {
  'sampler': {
    'steps': 12,
    'choice_temperature': 20.0,
    'guidance': 3.0,
    'guidance_schedule': 'linear',
  }
}
PRIORS = {
  'PixelCNN': {
    'model': {
      'type': 'pixelcnn',
      'layers': 8,
      'channels': 96,
      'first_kernel': 5,
      'head_channels': 256,
      'dropout': 0.1,
    },
    **CAUSAL,
  },
  'autoregressive': {
    'model': {
      'type': 'autoregressive',
      'transformer': {
        **TRANSFORMER,
        'dropout': 0.1,
        'broadcast_dropout': True,
        'kernel_init': 'bert',
        'embedding_init': 'bert',
      },
    },
    **CAUSAL,
  },
  'MaskGIT, published': {
    'model': {'type': 'maskgit', 'transformer': TRANSFORMER},
    **MASKED,
  },
  'MaskGIT, modern': {'model': MODERN, **MASKED},
}
ORDERS = {
  'confidence': {'choice_temperature': 20.0},
  'confidence, less noise': {'choice_temperature': 4.5},
  'halton': {'order': 'halton'},
  'halton, sharpened': {'order': 'halton', 'logit_scale': 1.2},
  'random': {'order': 'random'},
  'random, remasked': {'order': 'random', 'remask': 0.2},
}


def make_config(changes: dict, tokenizer: pathlib.Path, steps: int):
  """Returns the quickstart's config of a prior, changed."""
  config = config_lib.load_config('configs/quickstart_maskgit.py')
  config['autoencoder'] = str(tokenizer)
  for section, values in changes.items():
    config[section] = values
  config['optim']['learning_rate'] = 1e-3
  config['train']['total_steps'] = steps
  config['train']['log_every'] = {'steps': max(1, min(200, steps // 3))}
  config['train']['eval_every'] = {'percent': 100}
  return config


def trained(workdir: pathlib.Path, minutes: float) -> dict[str, pathlib.Path]:
  """Trains all; returns their run folders."""
  tokenizer = workdir / 'tokenizer'
  loop.train(
    config_lib.load_config('configs/quickstart_tokenizer.py'), tokenizer
  )
  folders = {}
  for name, changes in PRIORS.items():
    folder = workdir / name.replace(', ', '_')
    plan = workdir / f'{folder.name}.steps'
    if not plan.exists():
      trial = workdir / f'{folder.name}_trial'
      loop.train(make_config(changes, tokenizer, 150), trial)
      last = writers.read_metrics(trial)[-2]
      rate = last['images_per_second'] / 16
      paths.write_text(plan, str(round(60 * minutes * rate)))
    steps = int(plan.read_text())
    loop.train(make_config(changes, tokenizer, steps), folder)
    folders[name] = folder
  return folders


def seconds_per_hundred(model: vq_jax.Model) -> float:
  """Returns the time that 100 images take, once all is compiled."""
  times = []
  for seed in range(3):
    began = time.perf_counter()
    np.asarray(model.generate(seed, num=100))
    times.append(time.perf_counter() - began)
  return min(times)


def prior_table(folders: dict, workdir: pathlib.Path) -> str:
  """Returns the table of the priors."""
  lines = [
    '| prior | steps | bits per code | class agreement | Frechet distance | '
    'seconds for 100 images |',
    '|---|---|---|---|---|---|',
  ]
  for name, folder in folders.items():
    model = vq_jax.load(folder)
    found = quickstart.evaluate(model, workdir)
    (workdir / 'samples.png').rename(workdir / f'{folder.name}.png')
    bits = writers.last_evaluation(folder)['bits_per_token']
    steps = model.config['train']['duration']['steps']
    lines.append(
      f'| {name} | {steps:,} | {bits:.3f} | {found["class_agreement"]:.3f} | '
      f'{found["frechet_distance"]:.3f} | {seconds_per_hundred(model):.2f} |'
    )
  lines.append(
    f'| real test images | | | {found["class_agreement_real"]:.3f} | '
    f'{found["frechet_distance_real"]:.3f} | |'
  )
  return '\n'.join(lines) + '\n'


def sampler_table(folder: pathlib.Path, workdir: pathlib.Path) -> str:
  """Returns the table of orders and guidance, of one MaskGIT."""
  model = vq_jax.load(folder)
  scales = (0.0, 1.0, 2.0, 3.0, 4.0)
  lines = [
    '| order | ' + ' | '.join(f'guidance {s:g}' for s in scales) + ' |',
    '|---|' + '---|' * len(scales),
  ]
  for name, options in ORDERS.items():
    cells = []
    for scale in scales:
      sampler = samplers.with_options(
        model.info.sampler, {'guidance': scale, **options}
      )
      found = quickstart.evaluate(model, workdir, sampler=sampler)
      cells.append(
        f'{found["frechet_distance"]:.3f} / {found["class_agreement"]:.3f}'
      )
    lines.append(f'| {name} | {" | ".join(cells)} |')
  return '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--minutes', type=float, default=10, help='of each prior')
  arguments = parser.parse_args(argv)

  def go():
    folders = trained(arguments.workdir, arguments.minutes)
    for name, text in (
      ('priors.md', prior_table(folders, arguments.workdir)),
      (
        'samplers.md',
        sampler_table(folders['MaskGIT, modern'], arguments.workdir),
      ),
    ):
      paths.write_text(arguments.workdir / name, text)
      print(text)

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
