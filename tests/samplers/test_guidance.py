"""Laws of classifier-free guidance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax import samplers
from vq_jax.samplers import guidance

NULL = 9
TOKENS = jnp.arange(6).reshape(2, 3)
LABEL = jnp.array([3, 4])


class Prior:
  """Logits that depend on tokens and label; the number of rows is recorded."""

  def __init__(self):
    self.rows = []

  def __call__(self, tokens, *, label):
    self.rows.append(len(tokens))
    table = jax.random.normal(jax.random.key(0), (NULL + 1, 5))
    return jnp.sin(tokens)[..., None] + table[label][:, None]


def logits(sampler, progress):
  prior = Prior()
  rows = sampler.rows(LABEL, NULL)
  fn = sampler.logits_fn(lambda tokens: prior(tokens, label=rows))
  return fn(TOKENS, jnp.float32(progress)), prior.rows


def plain(label):
  return np.asarray(Prior()(TOKENS, label=label))


def test_at_scale_zero_only_the_conditional_model_is_called():
  got, rows = logits(samplers.Guidance(), 0.5)
  np.testing.assert_array_equal(got, plain(LABEL))
  assert rows == [2]


def test_at_scale_zero_no_label_is_needed():
  assert samplers.Guidance().rows(None, None) is None


@pytest.mark.parametrize('progress', [0.0, 0.3, 1.0])
@pytest.mark.parametrize('scale', [0.5, 3.0, -1.0])
@pytest.mark.parametrize(
  ('schedule', 'strength'),
  [
    (guidance.constant, lambda r: 1),
    (guidance.linear, lambda r: r),
    (guidance.PowerCosine(), lambda r: (1 - np.cos(np.pi * r)) / 2),
    (
      guidance.PowerCosine(power=2.75),
      lambda r: (1 - np.cos(np.pi * r**2.75)) / 2,
    ),
  ],
)
def test_formula(schedule, strength, scale, progress):
  sampler = samplers.Guidance(scale=scale, schedule=schedule)
  got, rows = logits(sampler, progress)
  conditional, unconditional = plain(LABEL), plain(jnp.full(2, NULL))
  want = conditional + scale * strength(progress) * (
    conditional - unconditional
  )
  np.testing.assert_allclose(got, want, atol=1e-5)
  assert rows == [4]


def test_full_negative_guidance_is_the_unconditional_model():
  sampler = samplers.Guidance(scale=-1.0, schedule=guidance.constant)
  np.testing.assert_allclose(
    logits(sampler, 0.2)[0], plain(jnp.full(2, NULL)), atol=1e-5
  )


def test_ramps_rise_from_nothing_to_all():
  progress = jnp.linspace(0, 1, 11)
  for schedule in [guidance.linear, guidance.PowerCosine()]:
    strength = np.asarray(schedule(progress))
    np.testing.assert_allclose(strength[[0, 5, 10]], [0, 0.5, 1], atol=1e-6)
    assert (np.diff(strength) > 0).all()
  np.testing.assert_array_equal(guidance.constant(progress), np.ones(11))


def test_a_greater_power_sets_in_later():
  progress = jnp.linspace(0, 1, 11)
  early, late = (
    np.asarray(guidance.PowerCosine(power=p)(progress)) for p in (1.0, 3.0)
  )
  assert (late[1:-1] < early[1:-1]).all()
  np.testing.assert_allclose(late[[0, -1]], [0, 1], atol=1e-6)


def test_a_power_that_is_not_positive_is_refused():
  with pytest.raises(
    ValueError, match=r'power must be a finite number in \(0, 10000\]'
  ):
    guidance.PowerCosine(power=0)


def test_strategies_are_values():
  def sampler(scale):
    return samplers.Guidance(
      scale=scale, schedule=guidance.PowerCosine(power=2.0)
    )

  assert sampler(2.0) == sampler(2.0)
  assert len({sampler(s) for s in (1.0, 1.0, 2.0)}) == 2
