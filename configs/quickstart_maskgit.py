"""The quickstart's prior: MaskGIT on the 7 x 7 codes of Fashion-MNIST.

    python -m train.main --config configs/quickstart_maskgit.py \
        --workdir runs/quickstart/maskgit \
        --config.autoencoder=runs/quickstart/tokenizer

Sized for two CPU cores; the README tells what it reached. The images are not
flipped: all shoes of the data set point to the left, and a prior that draws
them to the right is no longer a prior of that data. The loss is the mean over
all masked tokens (`loss_reduction` 'tokens'), as the paper has it.
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'maskgit'
  config.seed = 0
  config.autoencoder = 'runs/quickstart/tokenizer'
  config.conditional = True
  config.data = {
    'source': 'tfds:fashion_mnist_mini',
    'train_split': 'train',
    'eval_split': 'test',
    'data_dir': None,
    'batch_size': 16,
    'eval_batch_size': 200,
    'eval_limit': None,
    'workers': 0,
    'prefetch': 2,
  }
  config.model = {
    'type': 'maskgit',
    'transformer': {
      'layers': 3,
      'width': 128,
      'heads': 2,
      'mlp_width': 64,
      'norm': 'pre',
      'mlp_kernel': 3,
      'dropout': 0.0,
      'epsilon': 1e-6,
      'scan': False,
    },
  }
  config.loss = {
    'schedule': 'cosine',
    'min_ratio': 0.0,
    'label_smoothing': 0.0,
    'unmasked_weight': 0.0,
    'label_drop': 0.1,
  }
  config.sampling = {
    'steps': 12,
    'schedule': 'cosine',
    'choice_temperature': 20.0,
    'temperature': 1.0,
    'guidance': 3.0,
    'guidance_schedule': 'linear',
  }
  config.optim = {
    'learning_rate': 2e-3,
    'schedule': 'cosine',
    'warmup': {'percent': 2},
    'b2': 0.98,
    'weight_decay': 0.05,
    'clip_norm': 1.0,
    'ema_decay': None,
  }
  config.train = {
    'duration': {'steps': 5600},
    'log_every': {'steps': 200},
    'eval_every': {'percent': 50},
    'save_every': {'percent': 12.5},
    'keep': 2,
    'pictures': 40,
  }
  config.parallel = {'mode': 'jit', 'data': -1, 'fsdp': 1}
  config.init_from = None
  config.init_keep = ()
  if variant == 'smoke':
    config.train.duration.steps = 16
    config.train.log_every.steps = 8
    config.train.eval_every = {'steps': 16}
    config.train.save_every = {'steps': 8}
    config.data.eval_limit = 200
    config.sampling.steps = 2
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
