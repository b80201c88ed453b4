"""Halton-MaskGIT base on ImageNet at 256 x 256: the modern MaskGIT, 142 M.

Paper: Halton Scheduler for Masked Generative Image Transformer,
https://arxiv.org/abs/2503.17076. FID 4.17, inception score 263 with 32 steps
and guidance 0.7. The tokenizer is LlamaGen's VQ-16. As in its code
(valeoai/Halton-MaskGIT) dropout acts on attention and inside the MLP alone, and
the codes are those of centre crops that are not flipped. Of its own schedule
the last tenth decays along a cosine; here all of it is constant. Sized for
eight GPUs.

    vqjax convert llamagen-vq vq_ds16_c2i.pt --out runs/llamagen_vq16
    python -m train.main --config configs/halton_maskgit_base_imagenet256.py \
        --workdir runs/halton_maskgit

ImageNet must be prepared for TFDS (its archives are downloaded by hand).
"""

import ml_collections


def get_config(variant: str = ''):
  """Returns the card; 'smoke' shrinks it to a test of seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'maskgit'
  config.seed = 0
  config.autoencoder = 'runs/llamagen_vq16'
  config.conditional = True
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
      {'type': 'center_crop', 'size': 256},
    ),
    'eval_preprocess': (
      {'type': 'resize', 'size': 256},
      {'type': 'center_crop', 'size': 256},
    ),
    'in_memory': False,
    'workers': 16,
  }
  config.model = {
    'type': 'maskgit',
    'transformer': {
      'layers': 12,
      'width': 768,
      'heads': 12,
      'mlp_width': 2048,
      'norm': 'pre',
      'norm_type': 'rms',
      'bias': False,
      'qk_norm': 'width',
      'activation': 'swiglu',
      'epsilon': 1e-05,
      'dropout': 0.1,
      'embedding_dropout': 0.0,
      'broadcast_dropout': False,
      'mlp_dropout': 'hidden',
      'kernel_init': 'xavier',
      'embedding_init': 'gpt',
    },
    'conditioning': 'adaln_zero',
    'registers': 1,
    'embedding_norm': False,
    'head': 'norm',
    'adaln_out_init': 'xavier',
  }
  config.loss = {
    'schedule': 'arccos',
    'mask': 'independent',
    'label_smoothing': 0.0,
    'unmasked_weight': 1.0,
    'label_drop': 0.1,
  }
  config.sampling = {
    'steps': 32,
    'schedule': 'arccos',
    'rounding': 'decided',
    'order': 'halton',
    'logit_scale': 1.2,
    'guidance': 0.7,
    'guidance_schedule': 'constant',
  }
  config.optim = {
    'learning_rate': 0.0001,
    'schedule': 'constant',
    'warmup': {'steps': 2500},
    'b1': 0.9,
    'b2': 0.999,
    'weight_decay': 0.03,
    'clip_norm': 1.0,
    'ema_decay': None,
  }
  config.train = {
    'duration': {'steps': 1500000},
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
