"""Halton-MaskGIT base on ImageNet at 256 x 256: 142 M parameters.

Paper: Halton Scheduler for Masked Generative Image Transformer,
https://arxiv.org/abs/2503.17076. It reports FID 4.17 and an inception score of
263 with 32 steps and guidance 0.7. The tokenizer is LlamaGen's VQ-16. As in its
code (valeoai/Halton-MaskGIT), dropout acts only on the attention weights and
inside the MLP, and images are centre-cropped without flips. Its learning rate
decays along a cosine in the last tenth of training; here it is constant. Sized
for eight GPUs.

    vqjax convert llamagen-vq vq_ds16_c2i.pt --out runs/llamagen_vq16
    python -m train.main --config configs/halton_maskgit_base_imagenet256.py \
        --workdir runs/halton_maskgit
"""

from configs import common

PARAMETERS = 142_206_442
LEARNS_FROM = {'autoencoder': 'llamagen_vq16_imagenet256'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='maskgit',
    autoencoder='runs/llamagen_vq16',
    data=common.imagenet(
      256, batch_size=256, train_preprocess=common.center_crop(256)
    ),
    model=dict(
      type='maskgit',
      adaln_out_init='xavier',
      conditioning='adaln_zero',
      embedding_norm=False,
      head='norm',
      registers=1,
      transformer=dict(
        activation='swiglu',
        bias=False,
        broadcast_dropout=False,
        embedding_dropout=0.0,
        embedding_init='gpt',
        epsilon=1e-5,
        heads=12,
        kernel_init='xavier',
        layers=12,
        mlp_dropout='hidden',
        mlp_width=2048,
        norm='pre',
        norm_type='rms',
        qk_norm='width',
      ),
    ),
    loss=dict(
      schedule='arccos',
      mask='independent',
      label_smoothing=0.0,
      unmasked_weight=1.0,
    ),
    sampler=dict(
      guidance=0.7,
      guidance_schedule='constant',
      steps=32,
      schedule='arccos',
      rounding='decided',
      order='halton',
      logit_scale=1.2,
    ),
    optim=dict(
      learning_rate=0.0001,
      schedule='constant',
      warmup=dict(steps=2500),
      weight_decay=0.03,
      clip_norm=1.0,
    ),
    train=common.long_training(total_steps=1_500_000),
  )
  return common.variant(variant, config, common.SMOKE_TRANSFORMER)
