"""LlamaGen's VQ-16 on ImageNet at 256 x 256: 16,384 codes of width 8.

Paper: Autoregressive Model Beats Diffusion: Llama for Scalable Image
Generation, https://arxiv.org/abs/2406.06525. It reports a reconstruction FID of
2.19. L2 is that of pixels in [-1, 1] (hence 4 here). The code's argument for
weight decay, 0.05, never reaches its Adam; there is none here. Theirs is a
discriminator that learns and is felt from step 20,000 on; here it has 2,000
steps before that to learn (`--config.adversary.discriminator_start=None` for
none). Sized for eight GPUs or a TPU v3-8.

    python -m train.main --config configs/llamagen_vq16_imagenet256.py \
        --workdir runs/llamagen_vq16

The perceptual loss needs `python -m vq_jax.features lpips_vgg16`. ImageNet must
be prepared for TFDS (its archives are downloaded by hand).
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'adversarial'
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
      {'type': 'random_resize', 'smallest': 256, 'largest': 320},
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
    'type': 'llamagen_vq16',
    'image_channels': 3,
    'channels': 128,
    'multipliers': (1, 1, 2, 2, 4),
    'blocks': 2,
    'z_channels': 256,
    'dtype': 'bfloat16',
    'quantizer': {
      'type': 'vq',
      'codebook_size': 16384,
      'code_dim': 8,
      'commitment_weight': 0.25,
      'codebook_init': 'llamagen',
      'l2_normalize': True,
    },
  }
  config.loss = {'l2': 4.0, 'lpips': 1.0, 'quantizer': 1.0}
  config.optim = {
    'learning_rate': 0.0001,
    'schedule': 'constant',
    'warmup': {'steps': 0},
    'weight_decay': 0.0,
    'clip_norm': 1.0,
    'ema_decay': None,
    'b1': 0.9,
    'b2': 0.95,
  }
  config.adversary = {
    'discriminator': {'type': 'patchgan', 'channels': 64, 'layers': 3},
    'loss': 'hinge',
    'weight': 0.5,
    'adaptive': False,
    'start': {'steps': 20000},
    'discriminator_start': {'steps': 18000},
    'update': 'simultaneous',
  }
  config.train = {
    'duration': {'epochs': 40},
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
      channels=32,
      multipliers=(1, 2),
      blocks=1,
      z_channels=32,
    )
    config.model.quantizer.update(codebook_size=64, code_dim=16)
    config.loss.lpips = 0.0  # its weights may not be here
    config.adversary.start = {'steps': 2}
    config.adversary.discriminator_start = {'steps': 1}
    config.adversary.discriminator.update(channels=8, layers=1)
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
