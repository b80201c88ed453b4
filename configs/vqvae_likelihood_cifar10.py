"""VQ-VAE on CIFAR-10 with a likelihood, measured in bits per dimension.

Paper: Neural Discrete Representation Learning, https://arxiv.org/abs/1711.00937
(section 4.1 reports 4.67, the sum of the tokens' bits under their prior and of
the image's given the tokens). Encoder, decoder and codebook are those of
`vqvae_cifar10.py`; the likelihood is a mixture of logistics over one channel
after the other (PixelCNN++, https://arxiv.org/abs/1701.05517).
`decoder_bits_per_dim` is the image's part, and a prior (`pixelcnn_cifar10.py`)
reports the sum. Training takes an hour on one CPU core.

    python -m train.main --config configs/vqvae_likelihood_cifar10.py \
        --workdir runs/vqvae_likelihood

TFDS downloads CIFAR-10 on first use.
"""

from configs import common

PARAMETERS = 710_898
SMOKE = dict()


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoencoder',
    data=common.cifar10(batch_size=64, train_preprocess=common.FLIP),
    model=dict(
      type='vqvae_sonnet',
      likelihood=dict(type='logistic_mixture'),
      quantizer=dict(
        type='ema_vq',
        code_dim=64,
        codebook_size=512,
        dead_code_threshold=0.1,
        kmeans_iterations=10,
      ),
    ),
    loss=dict(l2=0.0, nll=1.0),
    optim=dict(learning_rate=0.001, warmup=dict(steps=100), clip_norm=1.0),
    train=dict(total_steps=5000, save_every=dict(percent=10)),
  )
  return common.variant(variant, config, SMOKE)
