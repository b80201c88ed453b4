"""VQ-VAE at its paper's width on CIFAR-10: ten codes for each of 8 x 8 latents.

Paper: Neural Discrete Representation Learning, https://arxiv.org/abs/1711.00937
(section 4.1: Adam, learning rate 2e-4, batch 128, 250,000 steps). It reports
4.67 bits per dimension, of the codes under their prior and of the image given
the codes; here `decoder_bits_per_dim` is the second part, and a prior
(`pixelcnn_cifar10.py`) tells the sum. How the ten codes share a latent is not
published: here each has a tenth of its numbers. Sized for one GPU.

    python -m train.main --config configs/vqvae_2017_cifar10.py \
        --workdir runs/vqvae_2017

CIFAR-10 is downloaded by TFDS on first use.
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'autoencoder'
  config.seed = 0
  config.data = {
    'source': 'tfds:cifar10',
    'train_split': 'train',
    'eval_split': 'test',
    'data_dir': None,
    'channels': None,
    'batch_size': 128,
    'eval_batch_size': 200,
    'eval_limit': None,
    'train_preprocess': (),
    'eval_preprocess': (),
    'workers': 0,
  }
  config.model = {
    'type': 'vqvae_2017',
    'image_channels': 3,
    'channels': 256,
    'likelihood': {'type': 'discretized_logistic'},
    'quantizer': {
      'type': 'grouped',
      'groups': 10,
      'quantizer': {
        'type': 'vq',
        'codebook_size': 512,
        'code_dim': 16,
        'commitment_weight': 0.25,
      },
    },
  }
  config.loss = {'l2': 0.0, 'nll': 1.0, 'quantizer': 1.0}
  config.optim = {
    'learning_rate': 0.0002,
    'schedule': 'constant',
    'warmup': {'steps': 0},
    'weight_decay': 0.0,
    'clip_norm': None,
    'ema_decay': None,
  }
  config.train = {
    'duration': {'steps': 250000},
    'log_every': {'steps': 100},
    'eval_every': {'percent': 25},
    'save_every': {'percent': 10},
    'pictures': 16,
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
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
