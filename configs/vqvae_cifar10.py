"""VQ-VAE on CIFAR-10: Sonnet's example, k-means start and dead-code revival.

Paper: Neural Discrete Representation Learning, https://arxiv.org/abs/1711.00937
Over the last 100 of 10,000 steps Sonnet's example prints a reconstruction error
of 0.056 of the data variance and a perplexity of 326 within a batch; here these
are `l2` / 0.0632704 and `batch_perplexity`. Setting
`--config.model.quantizer.kmeans_iterations=None` and
`--config.model.quantizer.dead_code_threshold=0` gives the example as published.
Training takes half an hour on two CPU cores and minutes on a GPU.

    python -m train.main --config configs/vqvae_cifar10.py --workdir runs/vqvae

TFDS downloads CIFAR-10 on first use.
"""

from configs import common

PARAMETERS = 662_723
SMOKE = dict()


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoencoder',
    data=common.cifar10(batch_size=32),
    model=dict(
      type='vqvae_sonnet',
      quantizer=dict(
        type='ema_vq',
        code_dim=64,
        codebook_size=512,
        dead_code_threshold=0.1,
        kmeans_iterations=10,
      ),
    ),
    loss=dict(l2=15.805179511509783),
    optim=dict(learning_rate=0.0003, schedule='constant'),
    train=dict(total_steps=10_000, save_every=dict(percent=10)),
  )
  return common.variant(variant, config, SMOKE)
