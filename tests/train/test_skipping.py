"""Steps whose gradients are not finite or far too large change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train import tiny_configs
from tests.train.saving import assert_same
from tests.train.saving import saved
from train import loop
from train import run as run_lib
from train import skipping
from train.logging import window as window_lib
from train.logging import writers
from train.tasks import autoencoder


@pytest.fixture
def poison(monkeypatch):
  """Multiplies the loss of some steps; under pmap, that of one device."""
  loss = autoencoder.AutoencoderTask.loss

  def install(factor, *steps):
    def poisoned(self, params, state, batch, rngs):
      value, aux = loss(self, params, state, batch, rngs)
      hit = jnp.isin(state.step + 1, jnp.array(steps))
      if self.axis_name is not None:
        hit &= jax.lax.axis_index(self.axis_name) == 3
      return value * jnp.where(hit, factor, 1.0), aux

    monkeypatch.setattr(autoencoder.AutoencoderTask, 'loss', poisoned)

  return install


def arrays(state) -> dict[str, np.ndarray]:
  leaves = jax.tree_util.tree_flatten_with_path(state)[0]
  return {jax.tree_util.keystr(k): np.asarray(v) for k, v in leaves}


def skipping_config(source, **train):
  config = tiny_configs.autoencoder(source, on_nonfinite='skip', **train)
  config['optim']['clip_norm'] = None
  return config


@pytest.mark.parametrize(
  ('parallel', 'accumulate'),
  [
    ({'data': 1}, 1),
    ({'data': 4, 'fsdp': 2}, 2),
    ({'mode': 'pmap'}, 1),
  ],
)
def test_a_skipped_step_changes_nothing_on_any_device(
  parallel, accumulate, source, tmp_path, poison
):
  poison(jnp.nan, 2)
  config = skipping_config(source)
  config['parallel'] = parallel
  config['optim']['accumulate'] = accumulate
  with run_lib.open_run(config, tmp_path) as run:
    trainer = loop.Loop(run)
    state, found, skipped = run.state, [arrays(run.state)], []
    for _ in range(3):
      state, metrics = trainer.get_step()(state, next(run.batches))
      skipped.append(float(metrics[skipping.SKIPPED]))
      found.append(arrays(state))
  assert skipped == [0, 1, 0]
  before, after, later = found[1:]
  changed = [k for k in before if not np.array_equal(before[k], after[k])]
  assert changed == ['.step'] and (after['.step'] == 2).all()
  moved = {k for k in after if not np.array_equal(after[k], later[k])}
  for part in ('.params', '.codebook', '.opt_state', '.ema'):
    assert any(k.startswith(part) for k in moved), part
  assert all(np.isfinite(value).all() for value in later.values())


def test_skipped_steps_are_counted_logged_and_reported(
  source, tmp_path, poison, capsys
):
  poison(jnp.inf, 3, 4, 6)
  loop.train(skipping_config(source), tmp_path)
  records = [r for r in writers.read_metrics(tmp_path) if r['kind'] == 'train']
  assert [r[skipping.SKIPPED] for r in records] == [0, 2, 1, 0]
  assert 'loss' not in records[1] and 'loss' in records[2]
  assert 'step 6/8' in capsys.readouterr().err
  report = (tmp_path / 'report.html').read_text()
  assert '3 training steps were skipped' in report
  assert 'the last of them up to step 6' in report


@pytest.mark.parametrize('policy', ['stop', 'skip'])
def test_the_training_stops_at_once_or_when_too_many_are_skipped(
  policy, source, tmp_path, poison
):
  poison(jnp.nan, 3, 5, 6, 7)
  config = skipping_config(source, max_skipped=3)
  config['train']['on_nonfinite'] = policy
  message = {
    'stop': 'at step 3 the metric loss is nan',
    'skip': '3 steps in a row were skipped, until step 7',
  }
  with pytest.raises(window_lib.DivergedError, match=message[policy]):
    loop.train(config, tmp_path)


def test_a_spike_is_skipped_once_the_mean_is_known(source, tmp_path, poison):
  """A resumed run knows it, too."""
  poison(1e4, 25)
  config = tiny_configs.autoencoder(
    source, total_steps=26, save_every={'steps': 22}, log_every={'steps': 1}
  )
  config['optim'] |= {'skip_above': 30.0, 'schedule': 'constant'}
  loop.train(config, tmp_path / 'whole')
  records = writers.read_metrics(tmp_path / 'whole')
  skipped = [r['step'] for r in records if r.get(skipping.SKIPPED)]
  assert skipped == [25]
  first = {**config, 'train': {**config['train'], 'total_steps': 22}}
  loop.train(first, tmp_path / 'parts')
  loop.train(config, tmp_path / 'parts')
  one, two = saved(tmp_path / 'whole'), saved(tmp_path / 'parts')
  assert one["training['norm_mean']['count']"] == 25
  assert_same(one, two)


@pytest.mark.parametrize('count', [19, 20])
def test_a_spike_is_finite_and_above_the_mean_of_twenty_steps(count):
  mean = skipping.NormMean(mean=jnp.float32(1), count=jnp.int32(count))
  norms = jnp.array([1.9, 2.1, jnp.inf, jnp.nan])
  found = jax.vmap(lambda norm: mean.is_spike(norm, 2.0))(norms)
  np.testing.assert_array_equal(found, [False, count == 20, False, False])


def test_the_mean_is_that_of_all_steps_and_then_of_the_last_hundred():
  mean = skipping.NormMean.zeros()
  for norm in (1.0, 2.0, 6.0):
    mean = mean.update(jnp.float32(norm))
  assert mean.mean == 3 and mean.count == 3
  later = mean.replace(count=jnp.int32(1000)).update(jnp.float32(103.0))
  assert later.mean == pytest.approx(4.0)
