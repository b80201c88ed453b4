"""The first part of the training of `photo_tokenizer.py`, on smaller crops.

An autoencoder of photographs with L2 and LPIPS, without a discriminator. The
network takes both sizes, and a step on smaller crops is cheaper.

    python -m tests.benchmarks.prepare_images photos *.deb --size 128
    python -m vq_jax.features lpips_vgg16
    python -m train.main --config configs/photo_crops_tokenizer.py \
        --workdir runs/photo_crops --config.data.source=folder:photos
"""

from configs import common

PARAMETERS = 2_863_411


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoencoder',
    data=dict(
      source='folder:photos',
      channels=3,
      batch_size=4,
      eval_batch_size=8,
      eval_limit=160,
      train_preprocess=(dict(type='random_crop', size=64),) + common.FLIP,
      eval_preprocess=(dict(type='center_crop', size=64),),
    ),
    model=dict(
      type='vqgan_taming',
      channels=16,
      multipliers=(1, 2, 4, 8),
      blocks=1,
      attention_strides=(),
      z_channels=64,
      groups=8,
      quantizer=dict(
        type='ema_vq',
        codebook_size=1024,
        code_dim=32,
        kmeans_iterations=10,
        dead_code_threshold=0.02,
      ),
    ),
    loss=dict(l2=4.0, lpips=0.2, quantizer=1.0),
    optim=dict(
      learning_rate=5e-4,
      schedule='constant',
      warmup=dict(steps=100),
      clip_norm=1.0,
    ),
    train=dict(
      total_steps=1800, eval_every=dict(steps=250), save_every=dict(steps=100)
    ),
  )
  return common.variant(variant, config, common.SMOKE_VQGAN)
