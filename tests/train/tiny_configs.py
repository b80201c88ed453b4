"""Configs of tiny models, which train in seconds."""

import pathlib

import numpy as np


def write_images(folder: pathlib.Path, *, size=8, channels=1, classes=3) -> str:
  """Writes 48 images of bars; a class has one of three directions."""
  rng = np.random.default_rng(0)
  ramp = np.linspace(0, 200, size)[:, None] * np.ones(size)
  shapes = np.stack([ramp, ramp.T, ramp[::-1]])
  labels = np.arange(48) % classes
  noise = rng.integers(0, 50, (48, size, size))
  images = (shapes[labels % 3] + noise).astype(np.uint8)[..., None]
  path = folder / 'images.npz'
  np.savez(path, images=images.repeat(channels, axis=-1), labels=labels)
  return f'npz:{path}'


def autoencoder(source: str, **train) -> dict:
  """A config of an EMA VQ-VAE on 4 x 4 codes."""
  return {
    'task': 'autoencoder',
    'seed': 0,
    'data': {
      'source': source,
      'train_split': 'train',
      'eval_split': 'train[:20]',
      'batch_size': 16,
      'eval_batch_size': 8,
    },
    'model': {
      'type': 'vqvae',
      'encoder': {
        'type': 'patch_encoder',
        'channels': 8,
        'inner_channels': 8,
        'blocks': 1,
        'patch': 4,
        'patch_stride': 2,
      },
      'quantizer': {
        'type': 'ema_vq',
        'codebook_size': 16,
        'code_dim': 4,
        'kmeans_iterations': 2,
        'dead_code_threshold': 0.2,
      },
      'decoder': {
        'type': 'patch_decoder',
        'out_channels': 1,
        'channels': 8,
        'inner_channels': 8,
        'blocks': 1,
        'patch': 4,
        'patch_stride': 2,
      },
    },
    'loss': {'l2': 1.0, 'quantizer': 0.25},
    'optim': {
      'learning_rate': 3e-3,
      'warmup': {'steps': 2},
      'weight_decay': 0.01,
      'clip_norm': 1.0,
      'ema_decay': 0.9,
    },
    'train': {
      'total_steps': 8,
      'log_every': {'steps': 2},
      'eval_every': {'steps': 4},
      'save_every': {'steps': 4},
      'num_images': 0,  # a sampler would be compiled for them
      **train,
    },
    # Tests of several devices set it.
    'parallel': {'mode': 'jit', 'data': 1},
  }


def vae(source: str, **train) -> dict:
  """A config of a VAE with three numbers for an image."""
  config = autoencoder(source, **train)
  backbones = {name: config['model'][name] for name in ('encoder', 'decoder')}
  config.update(
    task='vae',
    model={
      'type': 'vae',
      'likelihood': {'type': 'discretized_logistic'},
      'latent_dim': 3,
      'grid': (4, 4),
      'grid_channels': 8,
      **backbones,
    },
    loss={'beta': 1.0, 'kl_warmup': {'steps': 4}, 'iwae_samples': 3},
  )
  return config


def prior(source: str, tokenizer: str, **train) -> dict:
  """A config of a MaskGIT on those codes."""
  config = autoencoder(source, **train)
  config.update(
    task='maskgit',
    autoencoder=tokenizer,
    model={
      'type': 'maskgit',
      'transformer': {
        'layers': 2,
        'width': 16,
        'heads': 2,
        'mlp_width': 32,
        'norm': 'pre',
        'dropout': 0.0,
      },
    },
    loss={'label_smoothing': 0.1, 'label_drop': 0.2},
    sampler={'steps': 3, 'guidance': 1.0},
  )
  return config
