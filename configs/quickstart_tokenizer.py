"""The quickstart's tokenizer: Fashion-MNIST to 7 x 7 codes."""

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
    'batch_size': 32,
    'eval_batch_size': 200,
    'eval_limit': None,
    'workers': 0,
  }
  config.model = {
    'type': 'vqvae',
    'encoder': {'type': 'patch_encoder', 'channels': 64, 'blocks': 2},
    'quantizer': {
      'type': 'ema_vq',
      'codebook_size': 256,
      'code_dim': 16,
      'kmeans_iterations': 5,
      'revive_below': 0.1,
      'revive_until': 5000,
    },
    'decoder': {
      'type': 'patch_decoder',
      'out_channels': 1,
      'channels': 64,
      'blocks': 3,
    },
  }
  config.loss = {'l2': 10.0, 'quantizer': 0.1}
  config.optim = {
    'learning_rate': 5e-3,
    'schedule': 'cosine',
    'warmup': {'steps': 50},
    'b2': 0.99,
    'weight_decay': 0.01,
    'clip_norm': 1.0,
  }
  config.train = {
    'duration': {'steps': 7000},
    'log_every': {'steps': 100},
    'eval_every': {'percent': 25},
    'save_every': {'percent': 25},
    'pictures': 10,
  }
  config.parallel = {'mode': 'jit', 'data': -1, 'fsdp': 1}
  config.init_from = None
  config.init_keep = ()
  if variant == 'smoke':
    config.train.duration.steps = 20
    config.data.eval_limit = 100
    config.train.log_every.steps = 5
  return config
