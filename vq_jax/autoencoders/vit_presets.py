"""ViT-VQGAN in its published sizes."""

import dataclasses
from collections.abc import Mapping
from typing import Any
from typing import Literal

import flax.linen as nn

from vq_jax.autoencoders import likelihoods
from vq_jax.autoencoders import vit_backbone
from vq_jax.autoencoders import vqvae
from vq_jax.layers import initializers
from vq_jax.layers import transformer as transformer_lib

# Table 1 of the paper. Its counts of parameters, 32, 91 and 599 M, do not
# follow from these dimensions: the blocks of one encoder have 25.2, 85.1 and
# 629.7 M (587.6 M in the re-implementation, whose heads are narrower). The
# paper does not say what was counted.
_SIZES = {
  'small': vit_backbone.SMALL,
  'base': transformer_lib.TransformerConfig(
    layers=12, width=768, heads=12, mlp_width=3072
  ),
  'large': transformer_lib.TransformerConfig(
    layers=32, width=1280, heads=16, mlp_width=5120
  ),
}
# What thuanz123/enhancing-transformers builds differently from the paper. It
# has one kernel for queries, keys and values, whose Xavier bound is that of a
# layer three times as wide; and Xavier for the patch embedding, which is
# initialised with variance 1 / fan-in here.
REIMPLEMENTED: dict[str, Any] = {
  'head_dim': 64,
  'activation': 'tanh',
  'qkv_bias': False,
  'epsilon': 1e-5,
  'kernel_init': 'xavier',
}


def vit_vqgan(
  quantizer: nn.Module,
  *,
  encoder_size: Literal['small', 'base', 'large'] = 'small',
  decoder_size: Literal['small', 'base', 'large'] | None = None,
  reimplemented: bool = False,
  image_channels: int = 3,
  likelihood: nn.Module | None = None,
  patch: int = 8,
  overlap: int = 1,
  transformer: Mapping[str, Any] | None = None,
) -> vqvae.VQVAE:
  """ViT-VQGAN, Yu et al. 2022, section 3.1 (https://arxiv.org/abs/2110.04627).

  The paper's best model has a small encoder and a large decoder. Its quantizer
  l2-normalizes latents and codes: 8,192 codes of width 32, initialised from
  N(0, 1) in the re-implementation, commitment weight 0.25. Encoder and decoder
  work on pixels in [0, 1].

  Args:
    quantizer: any quantizer.
    encoder_size: size of the encoder in table 1 of the paper.
    decoder_size: size of the decoder; that of the encoder by default.
    reimplemented: build what thuanz123/enhancing-transformers builds: tanh in
      the blocks, attention heads of width 64 without biases, no head layer,
      Xavier's initializer.
    image_channels: channels of the image.
    likelihood: see `VQVAE`; the paper has a `LogitLaplace` beside L2.
    patch: side of a patch in pixels, which is also the stride.
    overlap: see `ViTEncoder`.
    transformer: values of `TransformerConfig` that replace those of the sizes,
      in encoder and decoder.

  Returns:
    the autoencoder.

  Raises:
    ValueError: if there is no such size.
  """
  encoder = _get_config(encoder_size, reimplemented, transformer)
  decoder = _get_config(
    decoder_size or encoder_size, reimplemented, transformer
  )
  common: dict[str, Any] = {'patch': patch, 'overlap': overlap}
  return vqvae.VQVAE(
    encoder=vit_backbone.ViTEncoder(
      transformer=encoder,
      head_width=None if reimplemented else encoder.mlp_width,
      **common,
    ),
    quantizer=quantizer,
    decoder=vit_backbone.ViTDecoder(
      likelihoods.outputs(likelihood, image_channels),
      transformer=decoder,
      head_width=None if reimplemented else decoder.mlp_width,
      **common,
    ),
    value_range=(0.0, 1.0),
    likelihood=likelihood,
  )


def _get_config(
  size: str, reimplemented: bool, changes: Mapping[str, Any] | None
) -> transformer_lib.TransformerConfig:
  """Returns the config of a size, with the changes of `vit_vqgan`."""
  if size not in _SIZES:
    raise ValueError(
      f'size must be one of {", ".join(_SIZES)}; got {size!r}. For other '
      'sizes set transformer.'
    )
  config = _SIZES[size]
  if reimplemented:
    init = initializers.BY_NAME[REIMPLEMENTED['kernel_init']]
    config = dataclasses.replace(
      config, **{**REIMPLEMENTED, 'kernel_init': init}
    )
  return dataclasses.replace(config, **(changes or {}))
