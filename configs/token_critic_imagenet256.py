"""Token-Critic for the MaskGIT of `maskgit_imagenet256.py`.

Paper: Improved Masked Image Generation with Token-Critic,
https://arxiv.org/abs/2209.04439. It reports FID 4.69 and an inception score of
174.5 with 18 steps of both networks. Depth and heads are recalled, not
confirmed. Its code was not released. The noise on the critic's scores is
MaskGIT's Gumbel noise, which falls linearly; it starts with the standard
deviation 0.29 of the uniform noise in lucidrains/muse-maskgit-pytorch. Sized
for a TPU v3-16.

    python -m train.main --config configs/token_critic_imagenet256.py \
        --workdir runs/token_critic --config.generator=runs/maskgit
    vqjax generate runs/token_critic
"""

from configs import common

PARAMETERS = 143_511_553
LEARNS_FROM = {'generator': 'maskgit_imagenet256'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='token_critic',
    generator='runs/maskgit',
    data=common.imagenet(
      256,
      batch_size=256,
      train_preprocess=(
        dict(type='random_resized_crop', size=256),
        *common.FLIP,
      ),
    ),
    model=dict(type='token_critic'),
    sampler=dict(steps=18, order='critic', choice_temperature=0.225),
    optim=dict(
      learning_rate=0.0001,
      schedule='constant',
      warmup=dict(steps=5000),
      b2=0.96,
      weight_decay=0.045,
    ),
    train=common.long_training(total_steps=1_000_000),
  )
  return common.variant(variant, config, common.SMOKE_TRANSFORMER)
