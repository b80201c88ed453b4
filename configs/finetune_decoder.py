"""A new decoder for old codes: fine-tuning on a folder of one's own images.

Encoder and codebook stay as they are, so that priors of the codes still fit,
and pictures come out sharper or in another style. The model is that of the run
it starts from, here a VQGAN with 16,384 codes, trained or converted. Sized for
one GPU; no figures have been published for it.

    python -m train.main --config configs/finetune_decoder.py \
        --workdir runs/decoder --config.init_from=runs/vqgan \
        --config.data.source=folder:/path/to/images

The last 5 % of the images, in an order shuffled by their names, are held out.
The perceptual loss needs `python -m vq_jax.features lpips_vgg16`.
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'adversarial'
  config.seed = 0
  config.data = {
    'source': 'folder:images',
    'train_split': 'train[:95%]',
    'eval_split': 'train[95%:]',
    'data_dir': None,
    'channels': 3,
    'batch_size': 16,
    'eval_batch_size': 16,
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
    'workers': 4,
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
      'legacy': True,
      'dead_code_threshold': 0.0,
    },
  }
  config.loss = {'l1': 2.0, 'l2': 0.0, 'lpips': 1.0, 'quantizer': 1.0}
  config.optim = {
    'learning_rate': 0.0001,
    'only': ('decoder',),
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
    'start': {'steps': 2000},
    'discriminator_start': {'steps': 1000},
    'update': 'alternating',
  }
  config.train = {
    'duration': {'steps': 20000},
    'log_every': {'steps': 100},
    'eval_every': {'percent': 2},
    'save_every': {'percent': 0.5},
    'pictures': 8,
  }
  config.parallel = {'mode': 'jit', 'data': -1, 'fsdp': 1}
  config.init_from = 'runs/vqgan'
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
