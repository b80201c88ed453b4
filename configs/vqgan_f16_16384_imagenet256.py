"""VQGAN f16 with 16,384 codes on ImageNet at 256 x 256: 16 x 16 codes.

Paper: Taming Transformers for High-Resolution Image Synthesis,
https://arxiv.org/abs/2012.09841. It reports a reconstruction FID of 4.98
(validation). Where paper and code differ the card has the code: L1, not L2, of
pixels in [-1, 1] (hence 2 here), and a weight of 0.25 on the codebook
loss (`legacy`; the paper's weighs the commitment). Weight, layers and
start of the discriminator are those of the released config; the repository's,
for 1,024 codes, has others. Sized for eight GPUs of 32 GB or a TPU v3-8.

    python -m train.main --config configs/vqgan_f16_16384_imagenet256.py \
        --workdir runs/vqgan

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
    'batch_size': 96,
    'eval_batch_size': 96,
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
    'type': 'vqgan_taming',
    'image_channels': 3,
    'channels': 128,
    'multipliers': (1, 1, 2, 2, 4),
    'blocks': 2,
    'attention_strides': (16,),
    'z_channels': 256,
    'quantizer': {
      'type': 'vq',
      'codebook_size': 16384,
      'code_dim': 256,
      'commitment_weight': 0.25,
      'codebook_init': 'taming',
      'legacy': True,
      'dead_code_threshold': 0.0,
    },
  }
  config.loss = {'l1': 2.0, 'l2': 0.0, 'lpips': 1.0, 'quantizer': 1.0}
  config.optim = {
    'learning_rate': 0.000432,
    'schedule': 'constant',
    'warmup': {'steps': 0},
    'weight_decay': 0.0,
    'clip_norm': None,
    'ema_decay': None,
    'b1': 0.5,
    'b2': 0.9,
  }
  config.adversary = {
    'discriminator': {'type': 'patchgan', 'channels': 64, 'layers': 2},
    'loss': 'hinge',
    'weight': 0.75,
    'adaptive': True,
    'start': {'steps': 0},
    'discriminator_start': {'steps': 0},
    'update': 'alternating',
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
    config.model.update(
      channels=32,
      multipliers=(1, 2),
      blocks=1,
      attention_strides=(2,),
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
