"""VQ-VAE-2 on ImageNet at 256 x 256: 32 x 32 codes over 64 x 64.

Paper: Generating Diverse High-Fidelity Images with VQ-VAE-2,
https://arxiv.org/abs/1906.00446. It reports a decoder MSE of 0.0047 (training)
and 0.0050 (validation) after 2.2 million steps of batch 128. Dead codes are
revived, which it does not do
(`--config.model.quantizer.dead_code_threshold=0`). Sized for eight GPUs or a
TPU v3-8.

    python -m train.main --config configs/vqvae2_imagenet256.py \
        --workdir runs/vqvae2

ImageNet must be prepared for TFDS (its archives are downloaded by hand).
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'autoencoder'
  config.seed = 0
  config.data = {
    'source': 'tfds:imagenet2012',
    'train_split': 'train',
    'eval_split': 'validation',
    'data_dir': None,
    'channels': 3,
    'batch_size': 128,
    'eval_batch_size': 128,
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
    'type': 'vqvae2',
    'strides': (4, 2),
    'channels': 128,
    'residual_channels': 64,
    'residual_blocks': 2,
    'image_channels': 3,
    'quantizer': {
      'type': 'ema_vq',
      'codebook_size': 512,
      'code_dim': 64,
      'commitment_weight': 0.25,
      'decay': 0.99,
      'dead_code_threshold': 0.03,
    },
  }
  config.loss = {'l2': 1.0, 'quantizer': 1.0}
  config.optim = {
    'learning_rate': 0.0003,
    'schedule': 'constant',
    'warmup': {'steps': 0},
    'weight_decay': 0.0,
    'clip_norm': None,
    'ema_decay': None,
  }
  config.train = {
    'duration': {'steps': 2207444},
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
    config.model.channels = 16
    config.model.residual_channels = 8
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
