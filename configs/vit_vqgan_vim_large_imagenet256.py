"""ViT-VQGAN's prior (VIM), large, on 32 x 32 codes of ImageNet at 256 x 256.

Paper: Vector-quantized Image Modeling with Improved VQGAN,
https://arxiv.org/abs/2110.04627. FID 4.17, inception score 175.1 at
temperature 1, without top-k or top-p. Heads and width of the MLP are recalled,
not confirmed. Its learning rate decays exponentially from step 80,000, here
along a cosine from the warm-up on. Sized for a TPU v4-256.

    python -m train.main --config configs/vit_vqgan_vim_large_imagenet256.py \
        --workdir runs/vim_large --config.autoencoder=runs/vit_vqgan

ImageNet must be prepared for TFDS (its archives are downloaded by hand).
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'autoregressive'
  config.seed = 0
  config.autoencoder = 'runs/vit_vqgan'
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
    'type': 'autoregressive',
    'transformer': {
      'layers': 36,
      'width': 2048,
      'heads': 32,
      'mlp_width': 8192,
      'dropout': 0.1,
      'remat': True,
    },
    'positions': 'learned_2d',
  }
  config.loss = {
    'token_noise': 0.0,
    'label_drop': 0.0,
  }
  config.sampling = {
    'temperature': 1.0,
  }
  config.optim = {
    'learning_rate': 0.00045,
    'schedule': 'cosine',
    'warmup': {'steps': 5000},
    'final_scale': 0.022,
    'b1': 0.9,
    'b2': 0.96,
    'weight_decay': 0.045,
    'clip_norm': None,
    'ema_decay': None,
  }
  config.train = {
    'duration': {'steps': 450000},
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
