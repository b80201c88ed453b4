"""MaskGIT on one's own classes: fine-tuning a trained or a released one.

The codes stay as they are, and all that the transformer knows of them; only the
table of classes is new, with one more for no class, so that guidance works. The
model is that of the run it starts from, here the released one:

    vqjax convert maskgit --tokenizer tokenizer_imagenet256_checkpoint \
        --transformer maskgit_imagenet256_checkpoint --out runs/maskgit
    python -m train.main --config configs/finetune_maskgit.py \
        --workdir runs/finetuned --config.data.source=folder:/path/to/images

Class sub-folders become classes; a folder without any is one class. The last
5 % of the images, in an order shuffled by their names, are held out. Paper:
MaskGIT, https://arxiv.org/abs/2202.04200; the loss is that of its released
code, the mean of each example's mean. Sized for one GPU; no figures have been
published for it.
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'maskgit'
  config.seed = 0
  config.autoencoder = 'runs/maskgit/autoencoder'
  config.conditional = True
  config.data = {
    'source': 'folder:images',
    'train_split': 'train[:95%]',
    'eval_split': 'train[95%:]',
    'data_dir': None,
    'channels': 3,
    'batch_size': 32,
    'eval_batch_size': 32,
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
    'type': 'maskgit',
    'transformer': {
      'layers': 24,
      'width': 768,
      'heads': 16,
      'mlp_width': 3072,
      'dropout': 0.1,
    },
  }
  config.loss = {
    'schedule': 'cosine',
    'label_smoothing': 0.1,
    'unmasked_weight': 0.0,
    'loss_reduction': 'examples',
    'label_drop': 0.1,
  }
  config.sampling = {
    'steps': 12,
    'schedule': 'cosine',
    'choice_temperature': 4.5,
    'guidance': 1.0,
    'guidance_schedule': 'linear',
  }
  config.optim = {
    'learning_rate': 0.0001,
    'schedule': 'constant',
    'warmup': {'steps': 500},
    'b1': 0.9,
    'b2': 0.96,
    'weight_decay': 0.045,
    'clip_norm': 1.0,
    'ema_decay': 0.999,
  }
  config.train = {
    'duration': {'steps': 20000},
    'log_every': {'steps': 100},
    'eval_every': {'percent': 5},
    'save_every': {'percent': 2.5},
    'pictures': 16,
  }
  config.parallel = {'mode': 'jit', 'data': -1, 'fsdp': 1}
  config.init_from = 'runs/maskgit'
  config.init_keep = ()
  if variant == 'smoke':
    config.model.transformer.update(layers=2, width=32, heads=2, mlp_width=64)
    config.data.update(
      batch_size=8,
      eval_batch_size=8,
      eval_limit=16,
      train_preprocess=(
        {'type': 'resize', 'size': 32},
        {'type': 'center_crop', 'size': 32},
      ),
      eval_preprocess=(
        {'type': 'resize', 'size': 32},
        {'type': 'center_crop', 'size': 32},
      ),
      workers=0,
    )
    config.sampling.steps = 2
    config.optim.warmup.steps = 2
    config.train.duration = {'steps': 4}
    config.train.log_every.steps = 2
    config.train.eval_every = {'steps': 4}
    config.train.save_every = {'steps': 4}
  elif variant:
    raise ValueError(f'no variant {variant!r} of this card; there is: smoke.')
  return config
