"""ViT-VQGAN base on ImageNet at 256 x 256: 32 x 32 of 8,192 codes.

Paper: Vector-quantized Image Modeling with Improved VQGAN,
https://arxiv.org/abs/2110.04627. It reports a reconstruction FID of 1.55. Its
code was not released, and of the adversarial loss it tells the weight and that
the discriminator is StyleGAN's: the rest, R1 every 16 steps and two softplus,
is that of thuanz123/enhancing-transformers. There R1 has the weight 10 / 2
beside half of the two softplus, hence 10 here, where they count in full. Dead
codes are revived, which neither does;
`--config.model.quantizer.dead_code_threshold=0` is the plain method. Sized for
a TPU v3-32 or 16 GPUs (the paper used 128 TPUv4).

    python -m train.main --config configs/vit_vqgan_base_imagenet256.py \
        --workdir runs/vit_vqgan

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
    'batch_size': 256,
    'eval_batch_size': 256,
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
    'type': 'vit_vqgan',
    'encoder_size': 'base',
    'patch': 8,
    'likelihood': {'type': 'logit_laplace'},
    'transformer': {
      'remat': True,
    },
    'quantizer': {
      'type': 'factorized_vq',
      'codebook_size': 8192,
      'code_dim': 32,
      'commitment_weight': 0.25,
      'dead_code_threshold': 0.1,
      'codebook_init': 'normal',
    },
  }
  config.loss = {'l2': 1.0, 'nll': 0.1, 'lpips': 0.1, 'quantizer': 1.0}
  config.optim = {
    'learning_rate': 0.0001,
    'schedule': 'cosine',
    'final_scale': 0.5,
    'warmup': {'steps': 50000},
    'b2': 0.99,
    'weight_decay': 0.0001,
    'clip_norm': None,
    'ema_decay': None,
  }
  config.adversary = {
    'discriminator': {
      'type': 'stylegan',
      'channels': 128,
      'multipliers': (2, 4, 4, 4, 4, 4),
      'stddev_group': 4,
    },
    'loss': 'non_saturating',
    'weight': 0.1,
    'start': {'steps': 0},
    'update': 'simultaneous',
    'r1': 10.0,
    'r1_every': 16,
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
    config.model.transformer.update(layers=1, width=32, heads=2, mlp_width=64)
    config.model.quantizer.update(codebook_size=64, code_dim=16)
    config.loss.lpips = 0.0  # its weights may not be here
    config.adversary.discriminator.update(channels=8, multipliers=(1, 1))
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
