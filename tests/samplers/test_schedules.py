"""Laws of the schedules: how much stays masked."""

import math

import jax
import numpy as np
import pytest

from vq_jax.samplers import schedules

N = 256
FORMULAS = {
  schedules.cosine: lambda r: math.cos(math.pi * r / 2),
  schedules.linear: lambda r: 1 - r,
  schedules.square: lambda r: 1 - r**2,
  schedules.cubic: lambda r: 1 - r**3,
  schedules.sqrt: lambda r: 1 - math.sqrt(r),
  schedules.arccos: lambda r: math.acos(r) / (math.pi / 2),
  schedules.log: lambda r: -math.log2(max(r, 1 / N)) / math.log2(N),
  schedules.exp: lambda r: 1 - 2 ** (-math.log2(N) * (1 - r)),
}
each = pytest.mark.parametrize('schedule', FORMULAS, ids=lambda f: f.__name__)
RATIOS = np.linspace(0, 1, 101, dtype=np.float32)


@each
def test_formula(schedule):
  want = [FORMULAS[schedule](float(r)) for r in RATIOS]
  np.testing.assert_allclose(schedule(RATIOS, N), want, atol=2e-6)


@each
@pytest.mark.parametrize('num_tokens', [4, 49, 1024])
def test_schedules_fall_from_one_to_zero(schedule, num_tokens):
  fractions = np.asarray(schedule(RATIOS, num_tokens))
  start = 1 - 1 / num_tokens if schedule is schedules.exp else 1
  np.testing.assert_allclose(fractions[0], start, atol=1e-6)
  np.testing.assert_allclose(fractions[-1], 0, atol=1e-6)
  assert (np.diff(fractions) <= 0).all()
  assert np.isfinite(fractions).all()


@each
def test_a_schedule_is_static_under_jit(schedule):
  run = jax.jit(lambda f, r: f(r, N), static_argnums=0)
  np.testing.assert_allclose(
    run(schedule, RATIOS), schedule(RATIOS, N), atol=1e-6
  )
  assert hash(schedule) == hash(schedule)


def test_every_schedule_has_a_formula_here():
  assert set(schedules.SCHEDULES.values()) == set(FORMULAS)
