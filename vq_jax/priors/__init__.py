"""Models of the codes: `prior(tokens, label=...) -> logits [B, N, K]`."""

from vq_jax.priors.autoregressive import AutoregressiveTransformer
from vq_jax.priors.maskgit import MaskGIT
from vq_jax.priors.masking import drop_labels
from vq_jax.priors.masking import random_mask
from vq_jax.priors.vocab import Vocab

__all__ = [
  'AutoregressiveTransformer',
  'MaskGIT',
  'Vocab',
  'drop_labels',
  'random_mask',
]
