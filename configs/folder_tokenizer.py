"""A tokenizer for a folder of one's own images: 64 x 64 to 16 x 16 codes.

    python -m train.main --config configs/folder_tokenizer.py \
        --workdir runs/tokenizer --config.data.source=folder:/path/to/images

The last 5 % of the images, in an order shuffled by their names, are held out.
Sized for one GPU; no figures have been published for it.
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'autoencoder'
  config.seed = 0
  config.data = {
    'source': 'folder:images',
    'train_split': 'train[:95%]',
    'eval_split': 'train[95%:]',
    'channels': 3,
    'batch_size': 64,
    'eval_batch_size': 64,
    'eval_limit': None,
    'train_preprocess': (
      {'type': 'resize', 'size': 72},
      {'type': 'random_crop', 'size': 64},
      {'type': 'random_flip'},
    ),
    'eval_preprocess': (
      {'type': 'resize', 'size': 64},
      {'type': 'center_crop', 'size': 64},
    ),
    'in_memory': False,
    'workers': 0,
    'max_unreadable': 100,
  }
  config.model = {
    'type': 'vqvae',
    'encoder': {
      'type': 'conv_encoder',
      'channels': 256,
      'residual_channels': 256,
      'residual_blocks': 2,
      'downsamples': 2,
    },
    'quantizer': {
      'type': 'ema_vq',
      'codebook_size': 1024,
      'code_dim': 32,
      'commitment_weight': 0.25,
      'decay': 0.99,
      'kmeans_iterations': 10,
      'dead_code_threshold': 0.03,
    },
    'decoder': {
      'type': 'conv_decoder',
      'out_channels': 3,
      'channels': 256,
      'residual_channels': 256,
      'residual_blocks': 2,
      'upsamples': 2,
    },
  }
  config.loss = {'l1': 0.0, 'l2': 10.0, 'quantizer': 0.1}
  config.optim = {
    'learning_rate': 1e-3,
    'schedule': 'cosine',
    'warmup': {'steps': 500},
    'weight_decay': 0.01,
    'clip_norm': 1.0,
    'ema_decay': 0.999,
  }
  config.train = {
    'duration': {'epochs': 100},
    'log_every': {'steps': 100},
    'eval_every': {'percent': 10},
    'save_every': {'percent': 5},
    'pictures': 8,
  }
  config.parallel = {'mode': 'jit', 'data': -1, 'fsdp': 1}
  config.init_from = None
  config.init_keep = ()
  if variant == 'smoke':
    config.model.encoder.channels = config.model.decoder.channels = 16
    config.model.quantizer.codebook_size = 32
    config.train.duration = {'steps': 4}
    config.train.log_every.steps = 2
    config.train.eval_every = {'steps': 4}
    config.train.save_every = {'steps': 2}
    config.data.batch_size = config.data.eval_batch_size = 8
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
