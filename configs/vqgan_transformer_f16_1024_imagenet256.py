"""The transformer of VQGAN on ImageNet, 1,024 codes: 24 layers of width 1,024.

Paper: Taming Transformers for High-Resolution Image Synthesis,
https://arxiv.org/abs/2012.09841, table 8. The learning rate is 4.5e-6 times the
batch size, as in its code. Sized for eight GPUs.

    vqjax convert taming-vqgan last.ckpt --yaml model.yaml --out runs/vqgan_1024
    python -m train.main \
        --config configs/vqgan_transformer_f16_1024_imagenet256.py \
        --workdir runs/vqgan_transformer
"""

from configs import common

PARAMETERS = 305_695_744
SMOKE = common.SMOKE_TRANSFORMER
LEARNS_FROM = {'autoencoder': 'vqgan_f16_1024_imagenet256'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoregressive',
    autoencoder='runs/vqgan_1024',
    data=common.imagenet(
      256, batch_size=64, train_preprocess=common.random_crop(256)
    ),
    model=dict(type='autoregressive', transformer=dict(dropout=0.0)),
    loss=dict(label_drop=0.0),
    sampler=dict(top_k=600, top_p=0.92),
    optim=dict(
      learning_rate=0.000288, schedule='constant', b2=0.95, weight_decay=0.01
    ),
    train=common.long_training(total_steps=500_000),
  )
  return common.variant(variant, config, SMOKE)
