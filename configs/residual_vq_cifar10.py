"""Residual quantization on CIFAR-10: four codes of 512 for each latent.

Paper: Autoregressive Image Generation using Residual Quantization,
https://arxiv.org/abs/2203.01941
Its paper has no figure for CIFAR-10; the README compares all quantizers on
smaller images.

    python -m train.main --config configs/residual_vq_cifar10.py \
        --workdir runs/residual_vq_cifar10

The towers, the data and the budget are those of `vqvae_cifar10.py`, so that
quantizers can be compared. CIFAR-10 is downloaded by TFDS on first use. Two CPU
cores take about an hour, a GPU minutes.
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'autoencoder'
  config.seed = 0
  config.data = {
    'source': 'tfds:cifar10',
    'train_split': 'train',
    'eval_split': 'test',
    'data_dir': None,
    'channels': None,
    'batch_size': 32,
    'eval_batch_size': 200,
    'eval_limit': None,
    'train_preprocess': (),
    'eval_preprocess': (),
    'workers': 0,
  }
  config.model = {
    'type': 'vqvae_sonnet',
    'image_channels': 3,
    'quantizer': {
      'type': 'residual',
      'levels': 4,
      'quantizer': {
        'type': 'ema_vq',
        'codebook_size': 512,
        'code_dim': 64,
        'commitment_weight': 0.25,
        'decay': 0.99,
        'dead_code_threshold': 0.1,
      },
    },
  }
  config.loss = {'l2': 1 / 0.06327039811675479, 'quantizer': 1.0}
  config.optim = {
    'learning_rate': 0.0003,
    'schedule': 'constant',
    'warmup': {'steps': 0},
    'weight_decay': 0.0,
    'clip_norm': None,
    'ema_decay': None,
  }
  config.train = {
    'duration': {'steps': 10000},
    'log_every': {'steps': 100},
    'eval_every': {'percent': 25},
    'save_every': {'percent': 10},
    'pictures': 16,
  }
  config.parallel = {'mode': 'jit', 'data': -1, 'fsdp': 1}
  config.init_from = None
  config.init_keep = ()
  if variant == 'smoke':
    # On the embedded images: any machine has them.
    config.data.update(
      source='tfds:fashion_mnist_mini',
      train_split='train',
      eval_split='test',
      channels=3,
      batch_size=8,
      eval_batch_size=8,
      eval_limit=16,
      train_preprocess=({'type': 'resize', 'size': 32},),
      eval_preprocess=({'type': 'resize', 'size': 32},),
      workers=0,
    )
    config.train.duration = {'steps': 4}
    config.train.log_every.steps = 2
    config.train.eval_every = {'steps': 4}
    config.train.save_every = {'steps': 4}
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
