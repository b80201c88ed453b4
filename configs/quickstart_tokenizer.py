"""The quickstart's tokenizer: 28 x 28 garments to 7 x 7 codes.

    python -m train.main --config configs/quickstart_tokenizer.py \
        --workdir runs/quickstart/tokenizer

Sized for two CPU cores; the README tells what it reached.
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
    'batch_size': 32,
    'eval_batch_size': 200,
    'eval_limit': None,
    'train_preprocess': ({'type': 'random_flip'},),
    'workers': 0,
    'prefetch': 2,
  }
  config.model = {
    'type': 'vqvae',
    'encoder': {
      'type': 'patch_encoder',
      'channels': 64,
      'inner_channels': 32,
      'blocks': 2,
      'patch': 8,
      'patch_stride': 4,
    },
    'quantizer': {
      'type': 'ema_vq',
      'codebook_size': 1024,
      'code_dim': 16,
      'commitment_weight': 0.25,
      'decay': 0.99,
      'kmeans_iterations': 5,
      'dead_code_threshold': 0.1,
      'revive_until_step': 3900,
    },
    'decoder': {
      'type': 'patch_decoder',
      'out_channels': 1,
      'channels': 64,
      'inner_channels': 32,
      'blocks': 3,
      'patch': 8,
      'patch_stride': 4,
    },
  }
  config.loss = {'l2': 10.0, 'quantizer': 0.1}
  config.optim = {
    'learning_rate': 5e-3,
    'schedule': 'cosine',
    'warmup': {'percent': 1},
    'b2': 0.99,
    'weight_decay': 0.01,
    'clip_norm': 1.0,
  }
  config.train = {
    'duration': {'steps': 5200},
    'log_every': {'steps': 200},
    'eval_every': {'percent': 25},
    'save_every': {'percent': 12.5},
    'keep': 2,
    'pictures': 10,
  }
  config.parallel = {'mode': 'jit', 'data': -1, 'fsdp': 1}
  config.init_from = None
  config.init_keep = ()
  if variant == 'smoke':
    config.train.duration.steps = 16
    config.train.log_every.steps = 8
    config.train.eval_every = {'steps': 8}
    config.train.save_every = {'steps': 8}
    config.data.eval_limit = 200
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
