"""The tokenizer of the packaged model 'fashion': 28 x 28 garments to 7 x 7.

    python -m train.main --config configs/fashion_tokenizer.py \
        --workdir runs/fashion_tokenizer

It is the quickstart's, wider and trained 3.5 times as long;
`docs/results/fashion.md` has the figures.
"""

from configs import common
from configs import quickstart_tokenizer

PARAMETERS = 323_057


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  longer = dict(
    model=dict(
      decoder=dict(blocks=4, channels=128, inner_channels=64),
      encoder=dict(blocks=3, channels=96, inner_channels=48),
      quantizer=dict(revive_until_step=14000),
    ),
    optim=dict(learning_rate=0.004),
    train=dict(total_steps=18200),
  )
  config = common.merge(quickstart_tokenizer.get_config(), longer)
  return common.variant(variant, config, common.SMOKE_FASHION)
