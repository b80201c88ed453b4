"""VQGAN's transformer on ImageNet at 256 x 256, 16,384 codes: 1.4 B parameters.

Paper: Taming Transformers for High-Resolution Image Synthesis,
https://arxiv.org/abs/2012.09841, tables 4 and 8. FID 15.78, inception score
74.3 with k = 973 and p = 0.88; FID 5.20, 280.3 with k = 600 of the best
twentieth by a classifier (`vqjax generate --acceptance-rate 0.05`). Sized for a
TPU v3-32 or 32 GPUs.

    vqjax convert taming-vqgan last.ckpt --yaml model.yaml --out runs/vqgan
    python -m train.main \
        --config configs/vqgan_transformer_f16_16384_imagenet256.py \
        --workdir runs/vqgan_transformer

The learning rate is theirs, 4.5e-6 for each image of a batch. ImageNet must be
prepared for TFDS (its archives are downloaded by hand).
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'autoregressive'
  config.seed = 0
  config.autoencoder = 'runs/vqgan'
  config.conditional = True
  config.data = {
    'source': 'tfds:imagenet2012',
    'train_split': 'train',
    'eval_split': 'validation',
    'data_dir': None,
    'channels': 3,
    'batch_size': 64,
    'eval_batch_size': 64,
    'eval_limit': None,
    'train_preprocess': (
      {'type': 'resize', 'size': 256},
      {'type': 'random_crop', 'size': 256},
    ),
    'eval_preprocess': (
      {'type': 'resize', 'size': 256},
      {'type': 'center_crop', 'size': 256},
    ),
    'in_memory': False,
    'workers': 16,
  }
  config.model = {
    'type': 'autoregressive',
    'transformer': {
      'layers': 48,
      'width': 1536,
      'heads': 16,
      'mlp_width': 6144,
      'dropout': 0.0,
      'remat': True,
    },
  }
  config.loss = {
    'token_noise': 0.0,
    'label_drop': 0.0,
  }
  config.sampling = {
    'temperature': 1.0,
    'top_k': 973,
    'top_p': 0.88,
  }
  config.optim = {
    'learning_rate': 0.000288,
    'schedule': 'constant',
    'warmup': {'steps': 0},
    'b1': 0.9,
    'b2': 0.95,
    'weight_decay': 0.01,
    'clip_norm': None,
    'ema_decay': None,
  }
  config.train = {
    'duration': {'steps': 500000},
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
    config.model.transformer.update(layers=2, width=32, heads=2, mlp_width=64)
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
