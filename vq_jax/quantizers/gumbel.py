"""The Gumbel-softmax quantizer."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import initializers
from vq_jax.quantizers import base
from vq_jax.quantizers import blocks
from vq_jax.quantizers import entropy
from vq_jax.quantizers import gradients
from vq_jax.utils import fields
from vq_jax.utils import replicas
from vq_jax.utils.argmax import argmax


class GumbelQuantizer(base.Quantizer):
  """Samples codes by the logits of a linear layer.

  In training a code is sampled from softmax(logits) with Gumbel noise g, and
  the gradient is that of softmax((logits + g) / T) times the codebook, the
  straight-through estimator of https://arxiv.org/abs/1611.01144, 2.2. T falls
  from `temperature` to `end_temperature` along half a cosine (DALL-E,
  https://arxiv.org/abs/2102.12092, appendix A.2). In evaluation the code of the
  largest logit is chosen. No distance is computed: a code need not be close to
  its latent.

  The loss has two terms: the mean KL divergence of p = softmax(logits) from the
  uniform distribution, and the KL divergence of the batch's mean of p from it.
  The second term is not in those papers: on small images the first alone leaves
  most codes unused. `balance_weight=0` is the published method.

  The kernel of the linear layer is initialised with variance 1 / fan-in and the
  codebook with N(0, 1). taming-transformers has PyTorch's defaults, a third of
  that variance and a random bias, with which the first choices are somewhat
  more evenly distributed.

  The state in the collection 'codebook' is `updates` [], the number of training
  steps.

  Attributes:
    codebook_size: K, the number of codes.
    code_dim: D, the width of a code.
    kl_weight: weight of the first term; 5e-4 in taming-transformers.
    balance_weight: weight of the second term.
    temperature: T in the first training step.
    end_temperature: T after `anneal_steps` training steps.
    anneal_steps: number of training steps in which T falls, at least 1.
    codebook_init: initializer of the codebook [K, D]; the authors' default.
    axis_name: name of the pmap axis over which statistics are summed; None
      under jit, where arrays hold the global batch.
    param_dtype: dtype of the codebook and the linear layer.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> quantizer = quantizers.GumbelQuantizer(codebook_size=8, code_dim=2)
    >>> z = jax.random.normal(jax.random.key(0), (4, 2))
    >>> quantized, _ = quantizer.init_with_output(jax.random.key(1), z)
    >>> quantized.indices.shape
    (4,)
  """

  codebook_size: fields.PositiveInt
  code_dim: fields.PositiveInt
  kl_weight: fields.NonNegativeFloat = 5e-4
  balance_weight: fields.NonNegativeFloat = 0.01
  temperature: fields.PositiveFloat = 1.0
  end_temperature: fields.PositiveFloat = 1 / 16
  anneal_steps: fields.NonNegativeInt = 150_000
  codebook_init: nn.initializers.Initializer = initializers.normal
  axis_name: str | None = None
  param_dtype: jnp.dtype = jnp.float32

  def setup(self):
    """Declares the linear layer and the codebook."""
    self.to_logits = nn.Dense(
      self.codebook_size,
      dtype=jnp.float32,
      param_dtype=self.param_dtype,
      precision=jax.lax.Precision.HIGHEST,
    )
    self.codebook = self.param(
      'codebook',
      self.codebook_init,
      (self.codebook_size, self.code_dim),
      self.param_dtype,
    )
    self.updates = self.variable('codebook', 'updates', jnp.int32, 0)

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes vectors.

    Args:
      z: float [..., D].
      train: whether codes are sampled, which needs the rng stream 'code', and
        the temperature falls, which needs the collection 'codebook' mutable.
    """
    z = self._check_input(z)
    update = train and z.size > 0 and not self.is_initializing()
    if self.is_initializing():
      self.to_logits(z)
    temperature = self._temperature()
    keys = [self._noise_keys(z.shape[:-1])] if update else []
    (indices, gradient), entropy_sums = blocks.map_rows(
      functools.partial(self._choose, temperature),
      self.codebook_size,
      z,
      *keys,
    )
    codes = self.lookup(indices)
    # KL(p || uniform) = log K - H(p).
    sample_entropy, batch_entropy = entropy.mean_entropies(
      entropy_sums, indices.size, self.axis_name
    )
    max_entropy = math.log(self.codebook_size) if z.size else 0.0
    kl, imbalance = max_entropy - sample_entropy, max_entropy - batch_entropy
    stats = {
      'kl': kl,
      'imbalance': imbalance,
      'temperature': temperature,
      **base.batch_stats(indices, self.codebook_size, self.axis_name),
    }
    if update:
      self.updates.value += 1
    return base.Quantized(
      quantized=gradients.soft_choice(codes, gradient),
      indices=indices,
      loss=self.kl_weight * kl + self.balance_weight * imbalance,
      stats=jax.lax.stop_gradient(stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return jnp.asarray(self.codebook, jnp.float32)[indices]

  def _temperature(self) -> jax.Array:
    progress = jnp.minimum(self.updates.value / self.anneal_steps, 1.0)
    span = self.temperature - self.end_temperature
    return self.end_temperature + span * (1 + jnp.cos(jnp.pi * progress)) / 2

  def _choose(
    self, temperature: jax.Array, z: jax.Array, keys: jax.Array | None = None
  ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Chooses the codes of latents.

    Args:
      temperature: T.
      z: float32 [..., D].
      keys: keys [...] of the noise, or None.

    Returns:
      The indices, int32 [...], and `gradient` for `gradients.soft_choice`; and
      sums for the entropies of p.
    """
    layer, variables = self.to_logits.unbind()
    logits = noisy = layer.apply(variables, z)
    if keys is not None:
      noisy = logits + self._noise(keys)
    indices = argmax(noisy)
    gradient = gradients.weighted_mean_gradient(
      noisy / temperature, jnp.asarray(self.codebook, jnp.float32)
    )
    return (indices, gradient), entropy.entropy_sums(logits)

  def _noise_keys(self, shape: tuple[int, ...]) -> jax.Array:
    rng = self.make_rng('code')
    keys = replicas.row_keys(rng, math.prod(shape), self.axis_name)
    return keys.reshape(shape)

  def _noise(self, keys: jax.Array) -> jax.Array:
    def sample(key):
      return jax.random.gumbel(key, (self.codebook_size,))

    noise = jax.vmap(sample)(keys.reshape(-1))
    return noise.reshape(*keys.shape, self.codebook_size)
