"""VQ-VAE-2's bottom prior on ImageNet: 64 x 64 codes, given the 32 x 32 above.

Paper: Generating Diverse High-Fidelity Images with VQ-VAE-2,
https://arxiv.org/abs/1906.00446. It reports 3.45 nats per code (4.98 bits)
after 754,000 steps of batch 512, and with the top prior FID 31.1 (quoted by
MaskGIT). The sizes are recalled, not confirmed. Sized for a TPU v3-128.

    python -m train.main --config configs/vqvae2_bottom_imagenet256.py \
        --workdir runs/vqvae2_bottom --config.autoencoder=runs/vqvae2 \
        --config.coarser=runs/vqvae2_top
    vqjax generate runs/vqvae2_bottom

The run keeps the top prior within it and draws both levels. ImageNet must be
prepared for TFDS (its archives are downloaded by hand).
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'autoregressive'
  config.seed = 0
  config.autoencoder = 'runs/vqvae2'
  config.level = 1
  config.coarser = 'runs/vqvae2_top'
  config.conditional = True
  config.data = {
    'source': 'tfds:imagenet2012',
    'train_split': 'train',
    'eval_split': 'validation',
    'data_dir': None,
    'channels': 3,
    'batch_size': 512,
    'eval_batch_size': 512,
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
    'residual_channels': 1024,
    'kernel': 5,
    'heads': 0,
    'output_layers': 0,
    'parent_layers': 20,
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
    'duration': {'steps': 754000},
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
      parent_layers=1,
      channels=8,
      residual_channels=8,
      heads=0,
    )
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
