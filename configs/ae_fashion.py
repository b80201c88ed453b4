"""A plain autoencoder of 28 x 28 garments: 16 numbers for an image.

Background: Reducing the Dimensionality of Data with Neural Networks (Hinton and
Salakhutdinov 2006, Science 313).

    python -m train.main --config configs/ae_fashion.py --workdir runs/ae

On the embedded images; about five minutes on two CPU cores.
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'autoencoder'
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
    'type': 'ae',
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
  config.loss = {'l2': 10.0, 'quantizer': 0.0}
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
    config.data.eval_limit = 200
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
