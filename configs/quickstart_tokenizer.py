"""The tokenizer of the quickstart: 28 x 28 garments to 7 x 7 tokens.

    python -m train.main --config configs/quickstart_tokenizer.py \
        --workdir runs/quickstart/tokenizer

Sized for two CPU cores; `docs/results/quickstart.md` has the figures.
"""

from configs import common

PARAMETERS = 77_841


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoencoder',
    data=common.fashion_mnist(batch_size=32, train_preprocess=common.FLIP),
    model=dict(
      type='vqvae',
      decoder=dict(type='patch_decoder', out_channels=1),
      encoder=dict(type='patch_encoder'),
      quantizer=dict(
        type='ema_vq',
        code_dim=16,
        codebook_size=1024,
        dead_code_threshold=0.1,
        kmeans_iterations=5,
        revive_until_step=3900,
      ),
    ),
    loss=dict(l2=10.0, quantizer=0.1),
    optim=dict(
      learning_rate=0.005,
      warmup=dict(percent=1),
      b2=0.99,
      weight_decay=0.01,
      clip_norm=1.0,
    ),
    train=dict(
      total_steps=5200,
      log_every=dict(steps=200),
      save_every=dict(percent=12.5),
      num_images=10,
    ),
  )
  return common.variant(variant, config, common.SMOKE_FASHION)
