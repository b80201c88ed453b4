"""The prior of the packaged model 'fashion': MaskGIT on its 7 x 7 tokens.

    python -m train.main --config configs/fashion_maskgit.py \
        --workdir runs/fashion --config.autoencoder=runs/fashion_tokenizer

It is the quickstart's, wider, with dropout, and trained for 12,000 steps of
four times as many images. Tokens are sampled one after the other in random
order: `docs/results/fashion.md` has the figures, those of fewer steps too.
"""

from configs import common
from configs import quickstart_maskgit

PARAMETERS = 1_128_876
LEARNS_FROM = {'autoencoder': 'fashion_tokenizer'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  longer = dict(
    autoencoder='runs/fashion_tokenizer',
    data=dict(batch_size=64),
    model=dict(
      transformer=dict(dropout=0.05, layers=4, mlp_width=80, width=160)
    ),
    sampler=dict(guidance=3.0, order='random', steps=49, temperature=1.04),
    train=dict(total_steps=12000),
  )
  config = common.merge(quickstart_maskgit.get_config(), longer)
  return common.variant(variant, config, quickstart_maskgit.SMOKE)
