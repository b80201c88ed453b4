"""The prior of VQ-VAE on CIFAR-10: a gated PixelCNN on tokens of vqvae_cifar10.

Papers: Neural Discrete Representation Learning,
https://arxiv.org/abs/1711.00937, and Conditional Image Generation with PixelCNN
Decoders, https://arxiv.org/abs/1606.05328.

    python -m train.main --config configs/pixelcnn_cifar10.py \
        --workdir runs/pixelcnn --config.autoencoder=runs/vqvae_cifar10

TFDS downloads CIFAR-10 on first use. Training takes minutes on two CPU cores.
"""

from configs import common

PARAMETERS = 3_428_000
SMOKE = dict(model=dict(channels=8, head_channels=8, layers=2))
LEARNS_FROM = {'autoencoder': 'vqvae_cifar10'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoregressive',
    autoencoder='runs/vqvae_cifar10',
    data=common.cifar10(batch_size=64, train_preprocess=common.FLIP),
    model=dict(type='pixelcnn', channels=96, dropout=0.1, layers=12),
    optim=dict(
      learning_rate=0.001,
      warmup=dict(percent=2),
      clip_norm=1.0,
      ema_decay=0.999,
    ),
    train=dict(total_steps=20_000, save_every=dict(percent=5), num_images=100),
  )
  return common.variant(variant, config, SMOKE)
