"""VQ-VAE-2's top prior on ImageNet: PixelSNAIL on 32 x 32 codes.

Paper: Generating Diverse High-Fidelity Images with VQ-VAE-2,
https://arxiv.org/abs/1906.00446. It reports 3.40 nats per code in training and
3.41 in validation (4.92 bits) after 1.6 million steps of batch 1,024. The sizes
are recalled, not confirmed. Sized for a TPU v3-128.

    python -m train.main --config configs/vqvae2_top_imagenet256.py \
        --workdir runs/vqvae2_top --config.autoencoder=runs/vqvae2

ImageNet must be prepared for TFDS (its archives are downloaded by hand).
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'autoregressive'
  config.seed = 0
  config.autoencoder = 'runs/vqvae2'
  config.level = 0
  config.coarser = None
  config.conditional = True
  config.data = {
    'source': 'tfds:imagenet2012',
    'train_split': 'train',
    'eval_split': 'validation',
    'data_dir': None,
    'channels': 3,
    'batch_size': 1024,
    'eval_batch_size': 1024,
    'eval_limit': None,
    'train_preprocess': (
      {'type': 'resize', 'size': 256},
      {'type': 'random_crop', 'size': 256},
      {'type': 'random_flip'},
    ),
    'eval_preprocess': (
      {'type': 'resize', 'size': 256},
      {'type': 'center_crop', 'size': 256},
    ),
    'in_memory': False,
    'workers': 16,
  }
  config.model = {
    'type': 'pixelsnail',
    'blocks': 4,
    'residual_layers': 5,
    'channels': 512,
    'residual_channels': 2048,
    'kernel': 5,
    'heads': 8,
    'output_layers': 20,
    'dropout': 0.1,
    'remat': True,
  }
  config.loss = {
    'label_drop': 0.0,
  }
  config.sampling = {
    'temperature': 1.0,
  }
  config.optim = {
    'learning_rate': 0.0003,
    'schedule': 'constant',
    'warmup': {'steps': 0},
    'weight_decay': 0.0,
    'clip_norm': None,
    'ema_decay': None,
  }
  config.train = {
    'duration': {'steps': 1600000},
    'log_every': {'steps': 100},
    'eval_every': {'percent': 2},
    'save_every': {'percent': 0.5},
    'pictures': 8,
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
    config.model.update(
      blocks=1,
      residual_layers=1,
      output_layers=1,
      channels=8,
      residual_channels=8,
      heads=2,
    )
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
