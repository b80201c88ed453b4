"""Priors, which model the distribution of tokens: tokens -> logits."""

from vq_jax.layers.transformer_config import TransformerConfig
from vq_jax.priors.autoregressive import AutoregressiveTransformer
from vq_jax.priors.base import Prior
from vq_jax.priors.base import is_scanned
from vq_jax.priors.base import unroll
from vq_jax.priors.maskgit import MaskGIT
from vq_jax.priors.masking import drop_labels
from vq_jax.priors.masking import random_mask
from vq_jax.priors.masking import random_tokens
from vq_jax.priors.masking import training_labels
from vq_jax.priors.pixelcnn import PixelCNN
from vq_jax.priors.pixelsnail import PixelSNAIL
from vq_jax.priors.token_critic import TokenCritic
from vq_jax.priors.vocab import Vocab

__all__ = [
  'AutoregressiveTransformer',
  'MaskGIT',
  'PixelCNN',
  'PixelSNAIL',
  'Prior',
  'TokenCritic',
  'TransformerConfig',
  'Vocab',
  'drop_labels',
  'is_scanned',
  'random_tokens',
  'random_mask',
  'training_labels',
  'unroll',
]
