"""A variational autoencoder of 28 x 28 garments: 16 numbers for an image.

Paper: Auto-Encoding Variational Bayes, https://arxiv.org/abs/1312.6114; the
bound in bits per dimension is that of https://arxiv.org/abs/1509.00519, k = 50.
Beta is 5 (https://openreview.net/forum?id=Sy2fzU9gl): with 1 the bound is
better, but 16 numbers then hold so much of an image that the latents fill
little of N(0, I), and what is drawn from it are ghosts.

    python -m train.main --config configs/vae_fashion.py --workdir runs/vae

On the embedded images; about five minutes on two CPU cores.
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'vae'
  config.seed = 0
  config.data = {
    'source': 'tfds:fashion_mnist_mini',
    'train_split': 'train',
    'eval_split': 'test',
    'data_dir': None,
    'batch_size': 64,
    'eval_batch_size': 200,
    'eval_limit': None,
    'workers': 0,
    'prefetch': 2,
  }
  config.model = {
    'type': 'vae',
    'latent_dim': 16,
    'grid': (7, 7),
    'grid_channels': 64,
    'encoder': {
      'type': 'patch_encoder',
      'channels': 64,
      'inner_channels': 32,
      'patch': 8,
      'patch_stride': 4,
      'blocks': 2,
    },
    'likelihood': {
      'type': 'discretized_logistic',
      'scale': 0.1,
      'learned': True,
    },
    'decoder': {
      'type': 'patch_decoder',
      'out_channels': 1,
      'channels': 64,
      'inner_channels': 32,
      'patch': 8,
      'patch_stride': 4,
      'blocks': 3,
    },
  }
  config.loss = {'beta': 5.0, 'kl_warmup': {'percent': 10}, 'iwae_samples': 50}
  config.optim = {
    'learning_rate': 0.002,
    'schedule': 'cosine',
    'warmup': {'percent': 2},
    'b2': 0.99,
    'weight_decay': 0.01,
    'clip_norm': 1.0,
  }
  config.train = {
    'duration': {'steps': 4000},
    'log_every': {'steps': 200},
    'eval_every': {'percent': 25},
    'save_every': {'percent': 12.5},
    'pictures': 10,
  }
  config.parallel = {'mode': 'jit', 'data': -1, 'fsdp': 1}
  config.init_from = None
  config.init_keep = ()
  if variant == 'smoke':
    config.train.duration = {'steps': 4}
    config.train.log_every.steps = 2
    config.train.eval_every = {'steps': 4}
    config.train.save_every = {'steps': 4}
    config.loss.iwae_samples = 2
    config.data.eval_limit = 40
    config.data.eval_batch_size = 40
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
