"""The prior of the quickstart: MaskGIT on the 7 x 7 tokens of Fashion-MNIST.

    python -m train.main --config configs/quickstart_maskgit.py \
        --workdir runs/quickstart/maskgit \
        --config.autoencoder=runs/quickstart/tokenizer

Sized for two CPU cores; `docs/results/quickstart.md` has the figures. Images
are not flipped, because all shoes of the data set point to the left and the
prior is to learn that.
"""

from configs import common

PARAMETERS = 603_084
SMOKE = common.merge(common.SMOKE_FASHION, dict(sampler=dict(steps=2)))
LEARNS_FROM = {'autoencoder': 'quickstart_tokenizer'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='maskgit',
    autoencoder='runs/quickstart/tokenizer',
    data=common.fashion_mnist(batch_size=16),
    model=dict(
      type='maskgit',
      transformer=dict(
        dropout=0.0,
        epsilon=1e-6,
        heads=2,
        layers=3,
        mlp_kernel=3,
        mlp_width=64,
        norm='pre',
        scan=False,
        width=128,
      ),
    ),
    loss=dict(label_smoothing=0.0),
    sampler=dict(guidance=3.0, steps=12, choice_temperature=20.0),
    optim=dict(
      learning_rate=0.002,
      warmup=dict(percent=2),
      b2=0.98,
      weight_decay=0.05,
      clip_norm=1.0,
    ),
    train=dict(
      total_steps=5600,
      log_every=dict(steps=200),
      eval_every=dict(percent=50),
      save_every=dict(percent=12.5),
      num_images=40,
    ),
  )
  return common.variant(variant, config, SMOKE)
