"""AE, VAE and VQ-VAE on garments: probes of the latents, and samples.

    python -m tests.benchmarks.compare_latents --workdir runs/latents

Trains `configs/ae_fashion.py`, `configs/vae_fashion.py` and, for as many steps,
the tokenizer of the quickstart; probes their encoders with few examples of each
class; and samples from the AE with a Gaussian mixture over its latents, and
from the VAE with N(0, I) and with a Gaussian mixture. Writes `table.md` and
`samples.png`: AE and mixture in the upper half, VAE and N(0, I) in the lower.
Stopped or killed, the same command goes on.
"""

import argparse
import pathlib
import sys

import numpy as np

import vq_jax
from train import config as config_lib
from train import errors
from train import loop
from vq_jax import data
from vq_jax.metrics import classifier as classifier_lib
from vq_jax.metrics import frechet
from vq_jax.utils import images
from vq_jax.utils import paths
from vq_jax.workflows import mixture
from vq_jax.workflows import probe

CONFIGS = {
  'AE': 'ae_fashion',
  'VAE': 'vae_fashion',
  'VQ-VAE': 'quickstart_tokenizer',
}
SOURCE = 'tfds:fashion_mnist_mini'
COMPONENTS, NUM_SAMPLES = 100, 1000


def trained(workdir: pathlib.Path) -> dict[str, tuple[vq_jax.Model, dict]]:
  """Returns each model and its last evaluation."""
  steps = config_lib.load_config('configs/ae_fashion.py')['train'][
    'total_steps'
  ]
  found = {}
  for name, config_name in CONFIGS.items():
    config = config_lib.load_config(f'configs/{config_name}.py')
    config['train']['total_steps'] = steps
    evaluation = loop.train(config, workdir / config_name)
    found[name] = vq_jax.load(workdir / config_name), evaluation
  return found


def probes(models: dict, shots: tuple[int, ...] = (1, 5, 10, 100)) -> list[str]:
  """Returns the lines of the table of accuracies."""
  lines = [
    '| | PSNR, dB | '
    + ' | '.join(f'{k} of each class' for k in shots)
    + ' | all |',
    '|---|---|' + '---|' * (len(shots) + 1),
  ]
  for name, (model, evaluation) in models.items():
    found = probe.probe(model, SOURCE, shots=shots)
    cells = [f'{m:.3f} +- {s:.3f}' for m, s in found['shots'].values()]
    psnr = evaluation['psnr']
    lines.append(
      f'| {name} | {psnr:.2f} | {" | ".join(cells)} | {found["linear"]:.3f} |'
    )
  return lines


def sample(models: dict, train: data.ArraySource) -> dict[str, np.ndarray]:
  """Returns images sampled in three ways."""
  sampled = {}
  for name in ('AE', 'VAE'):
    model, _ = models[name]
    z = model.encode(train.images)
    gaussians = mixture.fit_mixture(z, COMPONENTS)
    sampled[f'{name}, mixture'] = model.decode(gaussians.sample(0, NUM_SAMPLES))
  sampled['VAE, N(0, I)'] = models['VAE'][0].generate(0, num=NUM_SAMPLES)
  return sampled


def distances(
  sampled: dict[str, np.ndarray], train: data.ArraySource, workdir: pathlib.Path
) -> list[str]:
  """Returns the lines of the table of Frechet distances."""
  test = data.in_memory(data.open_source(SOURCE, 'test'))
  classifier = classifier_lib.load_or_fit(
    train.images,
    train.labels,
    train.num_classes,
    cache_dir=workdir / 'classifier',
    epochs=8,
  )
  real = frechet.fit(classifier(train.images)[1])
  sets = {**sampled, 'real test images': test.images[:NUM_SAMPLES]}
  lines = ['| sampled from | Frechet distance |', '|---|---|']
  for name, batch in sets.items():
    features = classifier(np.asarray(batch))[1]
    distance = frechet.frechet_distance(frechet.fit(features), real)
    lines.append(f'| {name} | {distance:.2f} |')
  return lines


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  workdir = parser.parse_args(argv).workdir

  def go():
    models = trained(workdir)
    train = data.in_memory(data.open_source(SOURCE, 'train'))
    sampled = sample(models, train)
    shown = np.concatenate(
      [sampled['AE, mixture'][:50], np.asarray(sampled['VAE, N(0, I)'])[:50]]
    )
    images.save_image(
      workdir / 'samples.png', images.grid(shown, columns=10, scale=2)
    )
    bound = models['VAE'][1]
    text = '\n'.join(
      [
        *probes(models),
        '',
        *distances(sampled, train, workdir),
        '',
        f'VAE: ELBO {bound["elbo_bits_per_dim"]:.3f}, IWAE '
        f'{bound["iwae_bits_per_dim"]:.3f} bits per dimension, KL '
        f'{bound["kl"]:.1f} nats per image (test images)',
        '',
      ]
    )
    paths.write_text(workdir / 'table.md', text)
    print(text)

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
