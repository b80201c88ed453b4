"""A tokenizer for a folder of images: 64 x 64 pixels to 16 x 16 tokens.

    python -m train.main --config configs/folder_tokenizer.py \
        --workdir runs/tokenizer --config.data.source=folder:/path/to/images

The last 5 % of the images, after shuffling by name, are held out. Sized for one
GPU; there are no published figures for it.
"""

from configs import common

PARAMETERS = 4_357_155
SMOKE = common.merge(
  common.SMOKE_FOLDER,
  dict(
    model=dict(
      encoder=dict(channels=16),
      decoder=dict(channels=16),
      quantizer=dict(codebook_size=32),
    )
  ),
)


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoencoder',
    data=common.folder(
      'images',
      64,
      batch_size=64,
      train_preprocess=common.random_crop(64, resized=72) + common.FLIP,
    ),
    model=dict(
      type='vqvae',
      decoder=dict(type='conv_decoder', channels=256, residual_channels=256),
      encoder=dict(type='conv_encoder', channels=256, residual_channels=256),
      quantizer=dict(
        type='ema_vq',
        code_dim=32,
        codebook_size=1024,
        dead_code_threshold=0.03,
        kmeans_iterations=10,
      ),
    ),
    loss=dict(l2=10.0, quantizer=0.1),
    optim=dict(
      learning_rate=0.001,
      warmup=dict(steps=500),
      weight_decay=0.01,
      clip_norm=1.0,
      ema_decay=0.999,
    ),
    train=dict(
      total_epochs=100,
      eval_every=dict(percent=10),
      save_every=dict(percent=5),
      num_images=8,
    ),
  )
  return common.variant(variant, config, SMOKE)
