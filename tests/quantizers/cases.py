"""The quantizers that the laws are tried on, and how to run them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import references
from vq_jax import quantizers

K, D, BETA = references.K, references.D, references.BETA
lookup = references.lookup


@dataclasses.dataclass(frozen=True)
class Case:
  """A quantizer under test.

  Attributes:
    make: returns the quantizer, given fields that differ from the default.
    reference: its reference implementation.
    searches: whether it chooses the nearest row of a codebook [K, D], which a
      test may set.
    learns: whether training changes the collection 'codebook'.
    samples: whether training quantizes at random, unlike evaluation.
  """

  make: Callable[..., nn.Module]
  reference: Any = references.Reference()
  searches: bool = False
  learns: bool = False
  samples: bool = False


def case(factory, reference=references.Reference, *, flags=(), **fields):
  make = functools.partial(factory, **fields)
  return Case(make, reference(), **dict.fromkeys(flags, True))


def nested(factory, reference, inner, *, flags=(), **fields):
  """A quantizer of quantizers; fields given to `make` reach the inner one."""

  def make(**changes):
    own = {f.name for f in dataclasses.fields(factory)}
    mine = {k: v for k, v in changes.items() if k in own}
    rest = {k: v for k, v in changes.items() if k not in own}
    return factory(quantizer=inner.make(**rest), **{**fields, **mine})

  return Case(make, reference(inner.reference), **dict.fromkeys(flags, True))


SIZE = {'codebook_size': K, 'code_dim': D}
TABLE = {**SIZE, 'commitment_weight': BETA}
ALL_OPTIONS = {
  'l2_normalize': True,
  'gradient_estimator': 'rotation',
  'entropy_weight': 0.3,
  'entropy_temperature': 0.5,
  'decay': 0.5,
  'kmeans_iterations': 2,
  'dead_code_threshold': 0.8,
}

# A new quantizer joins by a line here.
CASES = {
  'vq': case(quantizers.VectorQuantizer, flags=['searches'], **TABLE),
  'vq with all options': case(
    quantizers.VectorQuantizer,
    references.AllOptions,
    flags=['learns'],
    **TABLE,
    **ALL_OPTIONS,
  ),
  'ema_vq': case(
    quantizers.EMAVectorQuantizer, flags=['searches', 'learns'], **TABLE
  ),
  'ema_vq with all options': case(
    quantizers.EMAVectorQuantizer,
    references.AllOptions,
    flags=['learns'],
    **TABLE,
    **ALL_OPTIONS,
  ),
  'factorized_vq': case(
    quantizers.FactorizedVectorQuantizer,
    references.Normalized,
    dead_code_threshold=0.0,
    **TABLE,
  ),
  'gumbel': case(
    quantizers.GumbelQuantizer,
    references.Gumbel,
    flags=['learns', 'samples'],
    kl_weight=0.3,
    balance_weight=0.2,
    temperature=1.5,
    **SIZE,
  ),
  'fsq': case(quantizers.FSQ, references.FSQ, levels=references.LEVELS),
  'lfq': case(
    quantizers.LFQ,
    references.LFQ,
    bits=D,
    scale=0.5,
    commitment_weight=BETA,
    diversity_gamma=0.6,
    entropy_temperature=0.8,
  ),
  'bsq': case(
    quantizers.BSQ,
    references.BSQ,
    flags=['learns'],
    bits=D,
    commitment_weight=BETA,
    diversity_gamma=0.6,
    entropy_temperature=0.8,
    entropy_start_scale=1.0,
  ),
  'simvq': case(quantizers.SimVQ, **TABLE),
  'ibq': case(
    quantizers.IBQ,
    references.IBQ,
    entropy_weight=0.3,
    entropy_temperature=0.5,
    **TABLE,
  ),
}
EMA = CASES['ema_vq']
CASES['residual of vq'] = nested(
  quantizers.ResidualQuantizer, references.Residual, CASES['vq'], levels=2
)
CASES['residual of ema_vq with level dropout'] = nested(
  quantizers.ResidualQuantizer,
  references.Residual,
  EMA,
  flags=['learns', 'samples'],
  levels=2,
  level_dropout=0.7,
)
HALF = dataclasses.replace(
  EMA, make=functools.partial(EMA.make, code_dim=D // 2)
)
CASES['grouped of ema_vq'] = nested(
  quantizers.GroupedQuantizer,
  references.Grouped,
  HALF,
  flags=['learns'],
  groups=2,
)
CASES['residual of grouped'] = nested(
  quantizers.ResidualQuantizer,
  references.Residual,
  CASES['grouped of ema_vq'],
  flags=['learns', 'samples'],
  levels=2,
  level_dropout=0.7,
)
CASES['grouped of residual'] = nested(
  quantizers.GroupedQuantizer,
  references.Grouped,
  nested(quantizers.ResidualQuantizer, references.Residual, HALF, levels=2),
  flags=['learns'],
  groups=2,
)


def over(cases):
  """Runs a test over cases, as argument `case`."""
  return pytest.mark.parametrize(
    'case', [pytest.param(c, id=name) for name, c in cases.items()]
  )


def those(flag):
  """Cases with a flag."""
  return {name: c for name, c in CASES.items() if getattr(c, flag)}


every = over(CASES)
searching = over(those('searches'))
# Where training samples it has laws of its own, in each quantizer's own test.
in_both_modes = pytest.mark.parametrize(
  ('case', 'train'),
  [
    pytest.param(c, train, id=f'{name}, {"training" if train else "not"}')
    for name, c in CASES.items()
    for train in (False, True)
    if not (train and c.samples)
  ],
)


def latents(*shape, seed=0):
  """Normal latents float32 [*shape, D]."""
  rng = np.random.default_rng(seed)
  return rng.normal(size=(*shape, D)).astype(np.float32)


@functools.partial(jax.jit, static_argnames='quantizer')
def init(quantizer, seed=0):
  return quantizer.init(
    jax.random.key(seed), jnp.zeros((1, quantizer.code_dim))
  )


@functools.partial(jax.jit, static_argnums=(0, 3))
def _run(quantizer, variables, z, train, seed):
  quantized, updated = quantizer.apply(
    variables,
    z,
    train=train,
    mutable=['codebook'],
    rngs={'code': jax.random.key(seed)},
  )
  params, state = quantizers.apply_replacements(
    variables.get('params', {}), updated.get('codebook', {})
  )
  after = {'params': params, 'codebook': state}
  return quantized, {name: after[name] for name in variables}


def run(quantizer, variables, z, train=False, seed=0):
  """Returns `Quantized` and the variables after the training step."""
  # Always called alike, for a jitted function compiles for each way.
  return _run(quantizer, variables, z, train, seed)


@functools.partial(jax.jit, static_argnums=(0, 3))
def derivatives(quantizer, variables, z, train):
  """Derivatives of one program, since compiling is what takes time.

  Returns:
    `Quantized`, and for each of 'codes' (the sum of their sines), 'loss' and
    'stats' (their sum) the gradients on the variables and on z.
  """
  leaves, structure = jax.tree.flatten(variables)
  trained = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]

  def outputs(floats, z):
    floats = iter(floats)
    merged = [
      next(floats) if f else leaf
      for f, leaf in zip(trained, leaves, strict=True)
    ]
    quantized, _ = run(quantizer, structure.unflatten(merged), z, train)
    values = {
      'codes': jnp.sum(jnp.sin(quantized.quantized)),
      'loss': quantized.loss,
      'stats': sum(quantized.stats.values()),
    }
    return values, quantized

  floats = [x for f, x in zip(trained, leaves, strict=True) if f]
  values, back, quantized = jax.vjp(outputs, floats, z, has_aux=True)
  gradients = {}
  for name in values:
    on_floats, on_z = back({n: jnp.float32(n == name) for n in values})
    on_floats = iter(on_floats)
    on_variables = structure.unflatten(
      [next(on_floats) if f else jnp.zeros(()) for f in trained]
    )
    gradients[name] = on_variables, on_z
  return quantized, gradients


def step(quantizer, variables, z, seed=0):
  """Trains on one batch."""
  return run(quantizer, variables, z, train=True, seed=seed)


def table(quantizer, variables):
  """The codes float32 [K, D], by the public way to them."""
  indices = jnp.arange(quantizer.codebook_size)
  return np.asarray(lookup(quantizer, variables, indices))


def with_table(variables, codes):
  """Replaces each table of codes, whatever collection it lives in.

  Args:
    variables: of a quantizer.
    codes: the table, or a function from a table's shape to one.
  """

  def replace(path, leaf):
    if path[-1].key != 'codebook':
      return leaf
    return np.asarray(codes(leaf.shape) if callable(codes) else codes)

  return jax.tree_util.tree_map_with_path(replace, variables)


def distances(z, codes):
  """Squared distances in float64, without the expansion: [..., K]."""
  z, codes = np.asarray(z, np.float64), np.asarray(codes, np.float64)
  return np.square(z[..., None, :] - codes).sum(axis=-1)


def assert_same(got, want):
  """Equal trees, to the bit."""
  jax.tree.map(np.testing.assert_array_equal, got, want)


def assert_close(got, want, atol=1e-5):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=atol), got, want
  )
