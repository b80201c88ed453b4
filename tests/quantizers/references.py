"""Reference implementations of the quantizers, independent of the library.

A reference defines the choice of the code, the gradient and the loss of a
quantizer. Arrays named `codes` are the chosen codes.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

K, D, BETA = 16, 4, 0.7
LEVELS = (5, 4, 3, 2)
HIGHEST = jax.lax.Precision.HIGHEST


def stop(x):
  return jax.lax.stop_gradient(x)


def unit(x):
  return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


@functools.partial(jax.jit, static_argnames='quantizer')
def lookup(quantizer, variables, indices):
  return quantizer.apply(variables, indices, method='lookup')


def all_codes(quantizer, variables):
  """The table [K, D] of a quantizer whose vectors have one index."""
  indices = jnp.arange(quantizer.codebook_size)
  return lookup(quantizer, variables, indices)


def square_distances(z, codes):
  """|z - e|^2 without the expansion: [..., K]."""
  codes = jnp.expand_dims(codes, range(z.ndim - 1))
  return jnp.square(z[..., None, :] - codes).sum(axis=-1)


def mean_entropy(p):
  return -jnp.sum(p * jnp.log(p), axis=-1).mean()


def entropy_loss(logits, gamma=1.0):
  p = jax.nn.softmax(logits.reshape(-1, logits.shape[-1]))
  return mean_entropy(p) - gamma * mean_entropy(p.mean(axis=0)[None])


class Reference:
  """Nearest code in the space of the latents; straight-through; commitment."""

  def space(self, z):
    """Maps latents to where the nearest code is sought."""
    return z

  def choose(self, quantizer, variables, z):
    """Indices by brute force."""
    points = np.asarray(self.space(z), np.float64)
    codes = np.asarray(all_codes(quantizer, variables), np.float64)
    squares = np.square(points[..., None, :] - codes).sum(axis=-1)
    return squares.argmin(axis=-1)

  def surrogate(self, quantizer, variables, z, at, codes):
    """A function of z with the gradient that the codes chosen `at` have."""
    del quantizer, variables, at, codes
    return z

  def loss(self, quantizer, variables, z, at, codes):
    """The loss of what was chosen `at`, as a function of z alone."""
    del quantizer, variables, at
    return BETA * jnp.mean(jnp.square(self.space(z) - codes))

  def trained_by_codes(self):
    """Names of the parameters that the gradient of the output reaches."""
    return set()

  def trained_by_loss(self):
    """Names of the parameters that the gradient of the loss reaches."""
    return {'codebook', 'kernel'}

  def settle(self, variables):
    """Changes variables so that codes are quantized to themselves."""
    return variables

  def get_latents(self, codes):
    """Latents that are quantized to `codes`."""
    return codes


class Normalized(Reference):
  """Nearest on the unit sphere, through which the gradient passes as well."""

  def space(self, z):
    return unit(z)

  def surrogate(self, quantizer, variables, z, at, codes):
    del quantizer, variables, at, codes
    return unit(z)


class AllOptions(Normalized):
  """On the sphere, with rotation and entropy."""

  def surrogate(self, quantizer, variables, z, at, codes):
    del quantizer, variables

    def rotate(z, at, code):  # one vector
      a, b = unit(at), unit(code)
      cos, c = a @ b, unit(b - (a @ b) * a)
      sin = b @ c
      # In the plane of a and c turn by the angle; leave the rest.
      plane = jnp.outer(a, a) + jnp.outer(c, c)
      turn = cos * plane + sin * (jnp.outer(c, a) - jnp.outer(a, c))
      matrix = jnp.eye(D) - plane + turn
      return jnp.linalg.norm(code) / jnp.linalg.norm(at) * (matrix @ z)

    return jax.vmap(rotate)(unit(z), unit(at), codes)

  def loss(self, quantizer, variables, z, at, codes):
    logits = -square_distances(unit(z), all_codes(quantizer, variables)) / 0.5
    commitment = super().loss(quantizer, variables, z, at, codes)
    return commitment + 0.3 * entropy_loss(logits)


class Gumbel(Reference):
  """The largest logit; the gradient of the softmax."""

  def logits(self, variables, z):
    layer = variables['params']['to_logits']
    bias = jnp.expand_dims(layer['bias'], range(z.ndim - 1))
    return jnp.dot(z, layer['kernel'], precision=HIGHEST) + bias

  def choose(self, quantizer, variables, z):
    del quantizer
    return np.asarray(self.logits(variables, z)).argmax(axis=-1)

  def surrogate(self, quantizer, variables, z, at, codes):
    del at, codes
    soft = jax.nn.softmax(self.logits(variables, z) / quantizer.temperature)
    return soft @ variables['params']['codebook']

  def loss(self, quantizer, variables, z, at, codes):
    del quantizer, at, codes
    p = jax.nn.softmax(self.logits(variables, z)).reshape(-1, K)
    return -0.3 * mean_entropy(p) - 0.2 * mean_entropy(p.mean(axis=0)[None])

  def trained_by_codes(self):
    return {'codebook', 'kernel', 'bias'}

  def trained_by_loss(self):
    return {'kernel', 'bias'}

  def settle(self, variables):
    """Sets the logits to the negative distances, up to a constant."""
    params = variables['params']
    codes = params['codebook']
    layer = {'kernel': codes.T, 'bias': -jnp.square(codes).sum(axis=-1) / 2}
    return {**variables, 'params': {**params, 'to_logits': layer}}


class FSQ(Reference):
  """Nearest in the bounded space; the codes are the grid of levels."""

  def space(self, z):
    return jnp.stack(
      [self.bound(z[..., i], n) for i, n in enumerate(LEVELS)], axis=-1
    )

  def bound(self, x, n):
    if n == 2:
      return jnp.tanh(x)
    half = (n - 1) * 0.999 / 2
    offset = 0.5 if n % 2 == 0 else 0.0
    bounded = jnp.tanh(x + math.tan(offset / half)) * half - offset
    return bounded / (n // 2)

  def choose(self, quantizer, variables, z):
    """The first dimension is the fastest."""
    grids = [
      np.array([-1, 1]) if n == 2 else (np.arange(n) - n // 2) / (n // 2)
      for n in LEVELS
    ]
    grid = np.array([p[::-1] for p in itertools.product(*grids[::-1])])
    points = np.asarray(self.space(z), np.float64)
    # A step of a dimension is what counts there as 1.
    scale = np.array([1 if n == 2 else n // 2 for n in LEVELS])
    squares = np.square((points[..., None, :] - grid) * scale).sum(axis=-1)
    return squares.argmin(axis=-1)

  def surrogate(self, quantizer, variables, z, at, codes):
    return self.space(z)

  def loss(self, quantizer, variables, z, at, codes):
    return 0.0 * jnp.sum(z)

  def get_latents(self, codes):
    def latent(code, n):
      if n == 2:
        return code
      half = (n - 1) * 0.999 / 2
      offset = 0.5 if n % 2 == 0 else 0.0
      # As near the end as the bound lets it be.
      level = np.clip((code * (n // 2) + offset) / half, -0.99, 0.99)
      return np.arctanh(level) - math.tan(offset / half)

    columns = [latent(codes[..., i], n) for i, n in enumerate(LEVELS)]
    return np.stack(columns, axis=-1).astype(np.float32)


class LFQ(Reference):
  """Signs, with the entropy over all 2^D codes."""

  def codes(self, scale):
    signs = [p[::-1] for p in itertools.product([-1, 1], repeat=D)]
    return scale * jnp.array(signs, jnp.float32)

  def scale(self):
    return 0.5

  def choose(self, quantizer, variables, z):
    """The first dimension is the least significant bit."""
    squares = square_distances(self.space(z), self.codes(self.scale()))
    return np.asarray(squares).argmin(axis=-1)

  def loss(self, quantizer, variables, z, at, codes):
    squares = square_distances(self.space(z), self.codes(self.scale()))
    commitment = super().loss(quantizer, variables, z, at, codes)
    return commitment + 0.1 * entropy_loss(-squares / 0.8, 0.6)


class BSQ(LFQ, Normalized):
  """The same on the sphere, with bits taken to be independent."""

  def scale(self):
    return 1 / math.sqrt(D)

  def surrogate(self, quantizer, variables, z, at, codes):
    return self.space(z)

  def loss(self, quantizer, variables, z, at, codes):
    u = self.space(z)
    commitment = Reference.loss(self, quantizer, variables, z, at, codes)
    ends = jnp.array([-1, 1]) * self.scale()
    ends = jnp.expand_dims(ends, range(u.ndim))
    per_bit = -jnp.square(u[..., None] - ends) / 0.8
    entropies = [entropy_loss(per_bit[..., i, :], 0.6) for i in range(D)]
    return commitment + 0.1 * sum(entropies)


class IBQ(Reference):
  """The largest product; a soft gradient to everything."""

  def logits(self, variables, z):
    return jnp.dot(z, variables['params']['codebook'].T, precision=HIGHEST)

  def choose(self, quantizer, variables, z):
    return np.asarray(self.logits(variables, z)).argmax(axis=-1)

  def surrogate(self, quantizer, variables, z, at, codes):
    soft = jax.nn.softmax(self.logits(variables, z))
    return soft @ variables['params']['codebook']

  def loss(self, quantizer, variables, z, at, codes):
    soft = self.surrogate(quantizer, variables, z, z, codes)
    output = stop(codes) + soft - stop(soft)
    return (
      jnp.mean(jnp.square(output - z))
      + jnp.mean(jnp.square(stop(codes) - z))
      + 0.3 * entropy_loss(self.logits(variables, z) / 0.5)
    )

  def trained_by_codes(self):
    return {'codebook'}

  def settle(self, variables):
    codes = variables['params']['codebook']
    return {**variables, 'params': {'codebook': unit(codes)}}


class Nested(Reference):
  """Combines the reference of an inner quantizer over groups or levels."""

  def __init__(self, inner):
    self.inner = inner

  def trained_by_loss(self):
    return self.inner.trained_by_loss()


class Bound:
  """One of the inner quantizers, with its variables."""

  def __init__(self, quantizer, variables, name):
    self.quantizer = quantizer.quantizer
    self.variables = {c: tree[name] for c, tree in variables.items()}


class Residual(Nested):
  """Each level quantizes the rest."""

  def levels(self, quantizer, variables):
    for g in range(quantizer.levels):
      yield Bound(quantizer, variables, f'level_{g}')

  def choose(self, quantizer, variables, z):
    indices = []
    for level in self.levels(quantizer, variables):
      chosen = self.inner.choose(level.quantizer, level.variables, z)
      z = z - lookup(level.quantizer, level.variables, chosen)
      indices.append(chosen)
    return np.stack(indices, axis=z.ndim - 1)

  def loss(self, quantizer, variables, z, at, codes):
    total, before = 0.0, jnp.zeros_like(at)
    for level in self.levels(quantizer, variables):
      inner, own = level.quantizer, level.variables
      chosen = self.inner.choose(inner, own, at - before)
      part = lookup(inner, own, chosen)
      total += self.inner.loss(inner, own, z - before, at - before, part)
      before += part
    return total

  def settle(self, variables):
    """Each level is much finer than the one before, and its code 0 is 0.

    The last holds the origin, so that a sum of codes is taken apart again.
    """

    def shrink(path, leaf):
      if path[-1].key != 'codebook':
        return leaf
      level = next(p.key for p in path if p.key.startswith('level_'))
      rng = np.random.default_rng(0)
      return (rng.normal(size=leaf.shape) * 0.02 ** int(level[-1])).astype(
        np.float32
      )

    return jax.tree_util.tree_map_with_path(shrink, variables)


class Grouped(Nested):
  """Each group of dimensions by itself."""

  def parts(self, quantizer, variables, *arrays):
    split = [jnp.split(x, quantizer.groups, axis=-1) for x in arrays]
    for g, parts in enumerate(zip(*split, strict=True)):
      yield Bound(quantizer, variables, f'group_{g}'), *parts

  def choose(self, quantizer, variables, z):
    indices = [
      self.inner.choose(group.quantizer, group.variables, part)
      for group, part in self.parts(quantizer, variables, z)
    ]
    return np.stack(indices, axis=z.ndim - 1)

  def loss(self, quantizer, variables, z, at, codes):
    losses = [
      self.inner.loss(group.quantizer, group.variables, *parts)
      for group, *parts in self.parts(quantizer, variables, z, at, codes)
    ]
    return sum(losses) / quantizer.groups

  def settle(self, variables):
    return self.inner.settle(variables)
