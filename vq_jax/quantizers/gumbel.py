"""Codes drawn by their logits: the Gumbel-softmax quantizer."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import initializers
from vq_jax.quantizers import base
from vq_jax.quantizers import entropy
from vq_jax.quantizers import gradients
from vq_jax.utils import fields
from vq_jax.utils import replicas


class GumbelQuantizer(checked.CheckedModule):
  """A linear layer scores the codes and noise decides among them.

  Training draws a code from softmax(logits), by Gumbel noise g, and its
  gradient is that of softmax((logits + g) / T) times the table (Jang et al.
  2017, 2.2, straight-through). T falls from `temperature` to `end_temperature`
  along half a cosine (Ramesh et al. 2021, appendix A.2). Evaluation takes the
  largest logit. No distance is taken: a code need not be near its latent.

  Loss: the mean KL divergence of each vector's p = softmax(logits) from the
  uniform distribution and, so that codes do not die, that of the batch's mean
  of p. The second is not in those papers: on small pictures the first alone
  leaves most codes unused. `balance_weight=0` is the plain method.

  The layer's kernel is drawn with variance 1 / D' and the table from N(0, 1);
  PyTorch's default in taming-transformers, a third of that variance for the
  kernel and a random bias, makes the first choices somewhat more even.

  State, in the collection 'codebook': `updates` [].

  Attributes:
    codebook_size: K.
    code_dim: D.
    kl_weight: weight of the first; 5e-4 in taming-transformers.
    balance_weight: weight of the second.
    temperature: T at the start.
    end_temperature: T at the end.
    anneal_steps: updates in which T falls, at least 1.
    codebook_init: initializer of the table [K, D]; the authors' default.
    axis_name: the pmap axis over which statistics are summed; None under jit,
      where the batch is global already.
    param_dtype: dtype of table and layer.
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

  @property
  def index_shape(self) -> tuple[int, ...]:
    """A vector has one index."""
    return ()

  def setup(self):
    """Declares the layer and the codebook."""
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
    """Quantizes z: float [..., D]; see `base.Quantized`.

    With `train` the collection 'codebook' must be mutable; the noise is drawn
    from the stream 'code'.
    """
    base.check_width(z, self.code_dim, self)
    learn = train and z.size > 0 and not self.is_initializing()
    logits = self.to_logits(z.astype(jnp.float32))
    temperature = self._temperature()
    noisy = logits + self._noise(logits.shape) if learn else logits
    indices = jnp.argmax(noisy, axis=-1).astype(jnp.int32)
    soft = jax.nn.softmax(noisy / temperature)
    # KL(p || uniform) = log K - H(p), for each vector and for their mean.
    sample, batch = entropy.entropies(logits, self.axis_name)
    most = math.log(self.codebook_size) if z.size else 0.0
    kl, imbalance = most - sample, most - batch
    counts = base.code_counts(
      indices, self.codebook_size, axis_name=self.axis_name
    )
    stats = {
      'kl': kl,
      'imbalance': imbalance,
      'temperature': temperature,
      **base.batch_stats(counts),
    }
    if learn:
      self.updates.value += 1
    return base.Quantized(
      quantized=self._choose(soft, indices),
      indices=indices,
      loss=self.kl_weight * kl + self.balance_weight * imbalance,
      stats=jax.lax.stop_gradient(stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return jnp.asarray(self.codebook, jnp.float32)[indices]

  def _choose(self, soft: jax.Array, indices: jax.Array) -> jax.Array:
    hard = jax.nn.one_hot(indices, self.codebook_size)
    chosen = gradients.with_gradient_of(hard, soft)
    return gradients.with_gradient_of(
      self.lookup(indices), chosen @ jnp.asarray(self.codebook, jnp.float32)
    )

  def _temperature(self) -> jax.Array:
    done = jnp.minimum(self.updates.value / self.anneal_steps, 1.0)
    fall = self.temperature - self.end_temperature
    return self.end_temperature + fall * (1 + jnp.cos(jnp.pi * done)) / 2

  def _noise(self, shape: tuple[int, ...]) -> jax.Array:
    *leading, size = shape
    keys = replicas.row_keys(
      self.make_rng('code'), math.prod(leading), self.axis_name
    )
    noise = jax.vmap(lambda key: jax.random.gumbel(key, (size,)))(keys)
    return noise.reshape(shape)
