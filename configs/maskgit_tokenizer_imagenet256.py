"""MaskGIT's tokenizer on ImageNet at 256 x 256: 16 x 16 of 1,024 codes.

Paper: MaskGIT: Masked Generative Image Transformer,
https://arxiv.org/abs/2202.04200. Its released weights reach a reconstruction
FID of 2.28. Its training code was not released; losses and weights are those of
its config, while the paper says that all is as in VQGAN. So are the distance of
pooled features (`perceptual_loss_on_logit` is False there) and the average of
weights (`polyak_decay`), which no released code reads. Two stand-ins: the
features are EfficientNet-Lite0's instead of a ResNet-50's, and L2 is what
MAGVIT, its successor, has. Sized for a TPU v3-32 or 16 GPUs.

    python -m train.main --config configs/maskgit_tokenizer_imagenet256.py \
        --workdir runs/tokenizer

The perceptual loss needs `python -m vq_jax.features efficientnet_lite0`.
ImageNet must be prepared for TFDS (its archives are downloaded by hand).
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
    'type': 'maskgit_tokenizer',
    'image_channels': 3,
    'channels': 128,
    'multipliers': (1, 1, 2, 2, 4),
    'blocks': 2,
    'quantizer': {
      'type': 'vq',
      'codebook_size': 1024,
      'code_dim': 256,
      'commitment_weight': 0.25,
      'codebook_init': 'maskgit',
      'entropy_weight': 0.1,
      'entropy_temperature': 0.01,
    },
  }
  config.loss = {
    'l2': 1.0,
    'classifier': 0.1,
    'classifier_features': 'pooled',
    'quantizer': 1.0,
  }
  config.optim = {
    'learning_rate': 0.0001,
    'schedule': 'constant',
    'warmup': {'steps': 0},
    'weight_decay': 0.0,
    'clip_norm': None,
    'ema_decay': 0.999,
    'b1': 0.0,
    'b2': 0.99,
  }
  config.adversary = {
    'discriminator': {
      'type': 'stylegan',
      'channels': 64,
      'multipliers': (2, 4, 8, 8, 8, 8),
    },
    'loss': 'non_saturating',
    'weight': 0.1,
    'start': {'steps': 0},
    'update': 'simultaneous',
    'r1': 10.0,
    'r1_every': 1,
  }
  config.train = {
    'duration': {'steps': 1000000},
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
    config.model.update(channels=32, multipliers=(1, 2), blocks=1)
    config.model.quantizer.update(codebook_size=64, code_dim=16)
    config.loss.classifier = 0.0  # its weights may not be here
    config.adversary.discriminator.update(channels=8, multipliers=(1, 1))
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
