"""Token-Critic for the MaskGIT of `maskgit_imagenet256.py`.

Paper: Improved Masked Image Generation with Token-Critic,
https://arxiv.org/abs/2209.04439. FID 4.69, inception score 174.5 with 18 steps
of both networks. Its depth and heads are recalled, not confirmed. Its code was
not released: the noise on the critic's scores is MaskGIT's, Gumbel noise that
falls linearly, and begins as wide (a standard deviation of 0.29) as the uniform
noise of the re-implementation lucidrains/muse-maskgit-pytorch.
Sized for a TPU v3-16.

    python -m train.main --config configs/token_critic_imagenet256.py \
        --workdir runs/token_critic --config.generator=runs/maskgit
    vqjax generate runs/token_critic

ImageNet must be prepared for TFDS (its archives are downloaded by hand).
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'token_critic'
  config.seed = 0
  config.generator = 'runs/maskgit'
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
      {'type': 'random_resized_crop', 'size': 256},
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
    'type': 'token_critic',
    'transformer': {
      'layers': 20,
      'width': 768,
      'heads': 12,
      'mlp_width': 3072,
      'norm': 'pre',
      'dropout': 0.1,
    },
  }
  config.loss = {
    'schedule': 'cosine',
    'temperature': 1.0,
  }
  config.sampling = {
    'steps': 18,
    'schedule': 'cosine',
    'order': 'critic',
    'choice_temperature': 0.225,
    'temperature': 1.0,
  }
  config.optim = {
    'learning_rate': 0.0001,
    'schedule': 'constant',
    'warmup': {'steps': 5000},
    'b1': 0.9,
    'b2': 0.96,
    'weight_decay': 0.045,
    'clip_norm': None,
    'ema_decay': None,
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
    config.model.transformer.update(layers=2, width=32, heads=2, mlp_width=64)
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
