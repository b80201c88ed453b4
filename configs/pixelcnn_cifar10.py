"""VQ-VAE's prior on CIFAR-10: a gated PixelCNN on the codes of vqvae_cifar10.

Papers: Neural Discrete Representation Learning,
https://arxiv.org/abs/1711.00937, and Conditional Image Generation with PixelCNN
Decoders, https://arxiv.org/abs/1606.05328. Two CPU cores take minutes.

    python -m train.main --config configs/pixelcnn_cifar10.py \
        --workdir runs/pixelcnn --config.autoencoder=runs/vqvae_cifar10

CIFAR-10 is downloaded by TFDS on first use.
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'autoregressive'
  config.seed = 0
  config.autoencoder = 'runs/vqvae_cifar10'
  config.conditional = True
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
    'type': 'pixelcnn',
    'layers': 12,
    'channels': 96,
    'first_kernel': 7,
    'kernel': 3,
    'head_channels': 512,
    'dropout': 0.1,
  }
  config.loss = {
    'label_drop': 0.1,
  }
  config.sampling = {
    'temperature': 1.0,
    'guidance': 0.0,
  }
  config.optim = {
    'learning_rate': 0.001,
    'schedule': 'cosine',
    'warmup': {'percent': 2},
    'weight_decay': 0.0,
    'clip_norm': 1.0,
    'ema_decay': 0.999,
  }
  config.train = {
    'duration': {'steps': 20000},
    'log_every': {'steps': 100},
    'eval_every': {'percent': 25},
    'save_every': {'percent': 5},
    'pictures': 100,
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
    config.model.update(layers=2, channels=8, head_channels=8)
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
