"""MaskGIT on the codes of a folder of one's own images.

    python -m train.main --config configs/folder_maskgit.py \
        --workdir runs/maskgit --config.autoencoder=runs/tokenizer \
        --config.data.source=folder:/path/to/images

Class sub-folders become classes. Paper: MaskGIT, https://arxiv.org/abs/2202.04200
The loss is the mean over all masked tokens (`loss_reduction` 'tokens'), as in
the paper. Sized for one GPU; no figures have been published for it.
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'maskgit'
  config.seed = 0
  config.autoencoder = 'runs/tokenizer'
  config.conditional = True
  config.data = {
    'source': 'folder:images',
    'train_split': 'train[:95%]',
    'eval_split': 'train[95%:]',
    'channels': 3,
    'batch_size': 64,
    'eval_batch_size': 64,
    'eval_limit': None,
    'train_preprocess': (
      {'type': 'resize', 'size': 72},
      {'type': 'random_crop', 'size': 64},
      {'type': 'random_flip'},
    ),
    'eval_preprocess': (
      {'type': 'resize', 'size': 64},
      {'type': 'center_crop', 'size': 64},
    ),
    'in_memory': False,
    'workers': 0,
    'max_unreadable': 100,
  }
  config.model = {
    'type': 'maskgit',
    'transformer': {
      'layers': 12,
      'width': 512,
      'heads': 8,
      'mlp_width': 2048,
      'norm': 'pre',
      'mlp_kernel': 1,
      'dropout': 0.1,
      'epsilon': 1e-6,
      'scan': True,
      'remat': False,
      'dtype': 'float32',
    },
  }
  config.loss = {
    'schedule': 'cosine',
    'min_ratio': 0.0,
    'label_smoothing': 0.1,
    'unmasked_weight': 0.0,
    'label_drop': 0.1,
  }
  config.sampling = {
    'steps': 12,
    'schedule': 'cosine',
    'choice_temperature': 4.5,
    'temperature': 1.0,
    'guidance': 2.0,
    'guidance_schedule': 'linear',
  }
  config.optim = {
    'learning_rate': 3e-4,
    'schedule': 'cosine',
    'warmup': {'percent': 2},
    'b2': 0.96,
    'weight_decay': 0.045,
    'clip_norm': 1.0,
    'ema_decay': 0.999,
    'accumulate': 1,
  }
  config.train = {
    'duration': {'epochs': 300},
    'log_every': {'steps': 100},
    'eval_every': {'percent': 10},
    'save_every': {'percent': 5},
    'pictures': 16,
  }
  config.parallel = {'mode': 'jit', 'data': -1, 'fsdp': 1}
  config.init_from = None
  config.init_keep = ()
  if variant == 'smoke':
    config.model.transformer.update(layers=2, width=32, heads=2, mlp_width=32)
    config.sampling.steps = 2
    config.train.duration = {'steps': 4}
    config.train.log_every.steps = 2
    config.train.eval_every = {'steps': 4}
    config.train.save_every = {'steps': 2}
    config.data.batch_size = config.data.eval_batch_size = 8
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
