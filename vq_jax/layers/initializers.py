"""Initializers, by the names that configs use.

Codebooks [K, D]:

- `sonnet`: U(-a, a), a = sqrt(3 / D); Sonnet's VQ-VAE.
- `taming`: U(-1 / K, 1 / K); CompVis/taming-transformers.
- `maskgit`: U(-a, a), a = sqrt(3 / K); google-research/maskgit.
- `llamagen`: rows of U(-1, 1), l2-normalised; FoundationVision/LlamaGen.
- `normal`: N(0, 1); ViT-VQGAN, IBQ, and PyTorch's tables.

Kernels and embeddings:

- `lecun`: variance 1 / fan-in; flax's default.
- `xavier`: U(-a, a), a = sqrt(6 / (fan-in + fan-out)).
- `bert`: N(0, 0.02^2), truncated at two standard deviations, which gives a
  standard deviation of 0.0176.
- `gpt`: N(0, 0.02^2).
- `zeros`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

Initializer = nn.initializers.Initializer

sonnet: Initializer = nn.initializers.variance_scaling(
  1.0, 'fan_out', 'uniform'
)
maskgit: Initializer = nn.initializers.variance_scaling(
  1.0, 'fan_in', 'uniform'
)
normal: Initializer = nn.initializers.normal(1.0)
lecun: Initializer = nn.initializers.lecun_normal()
xavier: Initializer = nn.initializers.xavier_uniform()
bert: Initializer = nn.initializers.truncated_normal(0.02)
gpt: Initializer = nn.initializers.normal(0.02)
zeros: Initializer = nn.initializers.zeros_init()


def taming(
  key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32
) -> jax.Array:
  """Samples a table [K, D] from U(-1 / K, 1 / K)."""
  bound = 1 / shape[0]
  return jax.random.uniform(key, shape, dtype, -bound, bound)


def llamagen(
  key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32
) -> jax.Array:
  """Samples a table [K, D] from U(-1, 1) and l2-normalises its rows."""
  rows = jax.random.uniform(key, shape, dtype, -1, 1)
  return rows / jnp.linalg.norm(rows, axis=-1, keepdims=True)


BY_NAME: dict[str, Initializer] = {
  'bert': bert,
  'gpt': gpt,
  'lecun': lecun,
  'llamagen': llamagen,
  'maskgit': maskgit,
  'normal': normal,
  'sonnet': sonnet,
  'taming': taming,
  'xavier': xavier,
  'zeros': zeros,
}
