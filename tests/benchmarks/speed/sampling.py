"""Sampling of tokens, and images to tokens and back, with random weights."""

import dataclasses
import time
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend import core

from tests.benchmarks.speed import timing
from tests.benchmarks.speed import training as training_lib
from train.planning import abstract
from train.planning import flops as flops_lib
from vq_jax import priors
from vq_jax import samplers
from vq_jax.config import modules
from vq_jax.inference import codec
from vq_jax.inference import generate
from vq_jax.utils.trees import Tree


def make_variables(prior: priors.Prior) -> Tree:
  """Returns random variables of a prior."""
  shapes = jax.eval_shape(lambda: modules.init_prior(prior, jax.random.key(0)))
  return training_lib.make_arrays(shapes)


def make_inputs(prior: priors.Prior, batch: int, seed: int = 0) -> dict:
  """Returns what `generate.sample_tokens` takes of a batch.

  Keys and labels follow from the seed. No token is known.
  """
  empty = jnp.zeros((batch, prior.num_tokens), jnp.int32)
  classes, parent = prior.vocab.num_classes, None
  if getattr(prior, 'parent_grid', None):
    h, w = prior.parent_grid
    parent = jnp.zeros((batch, h * w), jnp.int32)
  return {
    'keys': jax.random.split(jax.random.key(seed), batch),
    'tokens': empty,
    'known': empty.astype(bool),
    'label': jnp.full(batch, seed % classes) if classes else None,
    'condition': parent,
  }


def make_action(
  prior: priors.Prior, variables: Tree, batch: int, sampler: samplers.Sampler
) -> Callable[[int], None]:
  """Returns a function that samples the tokens of a batch with a seed."""

  def sample(seed: int) -> None:
    tokens = generate.sample_tokens(
      sampler=sampler,
      prior=prior,
      variables=variables,
      share_rows=True,
      **make_inputs(prior, batch, seed),
    )
    jax.block_until_ready(tokens)

  return sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallFigures:
  """What is measured of a compiled function of a batch.

  Attributes:
    batch: number of images.
    seconds: time of a call.
    flops: operations of all matrix products and convolutions; None if they
      depend on a condition, as at the first token of a row of a PixelCNN.
    first: seconds of the first call, with the compilation.
    peak: the most bytes in use on a device since the process began, if known.
  """

  batch: int
  seconds: float
  flops: int | None
  first: float
  peak: int | None


def _measure(make_action, trace, batch: int, seconds: float) -> CallFigures:
  """Measures the action of the largest batch that fits.

  Args:
    make_action: number of images -> a function of a seed.
    trace: number of images -> the traced function.
    batch: the number that is tried first.
    seconds: how long the measurement takes, after the compilation.
  """

  def attempt(size: int):
    action = make_action(size)
    began = time.perf_counter()
    action(0)
    return size, action, time.perf_counter() - began

  size, action, first = timing.halve_until_it_fits(attempt, batch)

  def repeat(n: int) -> None:
    for seed in range(n):
      action(seed + 1)

  jaxpr = trace(size).jaxpr.jaxpr
  return CallFigures(
    batch=size,
    seconds=timing.time_repeats(repeat, seconds),
    flops=_count(jaxpr),
    first=first,
    peak=timing.get_peak_memory(),
  )


def _count(jaxpr: core.Jaxpr) -> int | None:
  """Returns the operations; None if they depend on a condition."""
  if _has_unequal_branches(jaxpr):
    return None
  return flops_lib.count(jaxpr, jax.default_backend())


def _has_unequal_branches(jaxpr: core.Jaxpr) -> bool:
  """Returns whether the operations of a program depend on a condition."""
  for equation in jaxpr.eqns:
    branches = equation.params.get('branches', ())
    if equation.params.get('branches_platforms') is not None:
      branches = ()  # which of them runs is known
    if len({flops_lib.count(branch.jaxpr) for branch in branches}) > 1:
      return True
    inner = core.jaxprs_in_params(equation.params)
    if any(map(_has_unequal_branches, inner)):
      return True
  return False


def measure_sampling(
  training: abstract.Training, batch: int, *, seconds: float
) -> CallFigures:
  """Measures how the tokens of a prior are sampled, by its config's sampler."""
  model = training.task.model
  prior, sampler = model.prior, model.info.sampler
  variables = make_variables(prior)
  return _measure(
    lambda size: make_action(prior, variables, size, sampler),
    lambda size: generate.sample_tokens.trace(
      sampler=sampler,
      prior=prior,
      variables=variables,
      **make_inputs(prior, size),
    ),
    batch,
    seconds,
  )


def measure_codec(
  training: abstract.Training, batch: int, *, seconds: float, decode: bool
) -> CallFigures:
  """Measures an autoencoder that turns images into tokens, or tokens back."""
  autoencoder: nn.Module = training.task.model.autoencoder
  variables = training_lib.make_arrays(training.state.variables)
  shape = training.examples.image_shape
  function = codec.decode_tokens if decode else codec.encode_tokens

  def make_input(size: int):
    images = training_lib.make_batch(training, size)['image']
    if not decode:
      return jnp.asarray(images)
    indices = [
      jnp.zeros((size, *grid.shape(*shape[:2])), jnp.int32)
      for grid in autoencoder.token_grids
    ]
    return codec.join(indices)

  def make_action(size: int):
    inputs = make_input(size)
    return lambda seed: jax.block_until_ready(
      function(autoencoder, variables, inputs)
    )

  return _measure(
    make_action,
    lambda size: function.trace(autoencoder, variables, make_input(size)),
    batch,
    seconds,
  )
