"""VQ-VAE on CIFAR-10 that says how likely a picture is: bits per dimension.

Paper: Neural Discrete Representation Learning, https://arxiv.org/abs/1711.00937
(section 4.1 reports 4.67, of the codes under their prior and of the image given
the codes). Here the towers and codes of `vqvae_cifar10`, and a mixture of
logistics that takes a pixel's channels one after the other (PixelCNN++,
https://arxiv.org/abs/1701.05517). `decoder_bits_per_dim` is the image's part; a
prior (`pixelcnn_cifar10.py`) tells the sum. One CPU core takes an hour.

    python -m train.main --config configs/vqvae_likelihood_cifar10.py \
        --workdir runs/vqvae_likelihood

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
    'batch_size': 64,
    'eval_batch_size': 200,
    'eval_limit': None,
    'train_preprocess': ({'type': 'random_flip'},),
    'eval_preprocess': (),
    'workers': 0,
  }
  config.model = {
    'type': 'vqvae_sonnet',
    'image_channels': 3,
    'likelihood': {'type': 'logistic_mixture', 'components': 5},
    'quantizer': {
      'type': 'ema_vq',
      'codebook_size': 512,
      'code_dim': 64,
      'commitment_weight': 0.25,
      'decay': 0.99,
      'kmeans_iterations': 10,
      'dead_code_threshold': 0.1,
    },
  }
  config.loss = {'l2': 0.0, 'nll': 1.0, 'quantizer': 1.0}
  config.optim = {
    'learning_rate': 1e-3,
    'schedule': 'cosine',
    'warmup': {'steps': 100},
    'weight_decay': 0.0,
    'clip_norm': 1.0,
    'ema_decay': None,
  }
  config.train = {
    'duration': {'steps': 5_000},
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
      channels=3,
      batch_size=8,
      eval_batch_size=8,
      eval_limit=16,
      train_preprocess=({'type': 'resize', 'size': 32},),
      eval_preprocess=({'type': 'resize', 'size': 32},),
    )
    config.train.duration.steps = 4
    config.train.log_every.steps = 2
    config.train.eval_every = {'steps': 4}
    config.train.save_every = {'steps': 2}
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
