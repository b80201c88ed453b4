"""Laws of training against a discriminator."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.train import tiny_configs
from tests.train.saving import assert_same
from tests.train.saving import saved
from train import config as config_lib
from train import intervals
from train import loop
from train import optim as optim_lib
from train import state as state_lib
from train import step as step_lib
from train.logging import writers
from train.tasks import adversarial
from train.tasks import autoencoder
from train.tasks import base
from vq_jax import losses
from vq_jax.config import schema
from vq_jax.runs import checkpoints
from vq_jax.runs import layout
from vq_jax.utils import trees

PATCHGAN = {'type': 'patchgan', 'channels': 8, 'layers': 1}
STYLEGAN = {'type': 'stylegan', 'channels': 8, 'multipliers': (1,)}


def adversarial_config(source, *, only=(), start=4, learns=2, **changes):
  """A config with a discriminator from step 2 and its loss from step 4."""
  config = tiny_configs.autoencoder(source)
  config['task'] = 'adversarial'
  config['optim']['only'] = only
  config['adversary'] = {
    'discriminator': PATCHGAN,
    'weight': 0.5,
    'start': {'steps': start},
    'discriminator_start': {'steps': learns},
    'optim': {'learning_rate': 1e-2, 'weight_decay': 0.0},
    **changes,
  }
  return config


class Networks:
  """An autoencoder and a discriminator on their own, without the loop."""

  def __init__(self, *, accumulate=1, **changes):
    config = adversarial_config('npz:none', start=0, learns=0, **changes)
    config['model']['quantizer'] = {
      'type': 'vq',
      'codebook_size': 16,
      'code_dim': 4,
    }
    parsed = config_lib.parse_config(config)
    plan = intervals.Intervals.create(parsed.train, steps_per_epoch=1)
    self.task = adversarial.make_task(
      base.Setup(
        config=parsed,
        run_config={
          'config': config,
          'dataset': {'image_shape': (8, 8, 1), 'class_names': ['all']},
        },
        folder=None,
        source=None,
        intervals=plan,
      )
    )
    self.discriminator = self.task.discriminator
    self.optim = dataclasses.replace(parsed.optim, accumulate=accumulate)
    self.schedule = optim_lib.make_schedule(self.optim, plan)
    self.optimizer = optim_lib.make_optimizer(self.optim, self.schedule)

  def state(self, seed=0):
    rngs = jax.random.split(jax.random.key(seed))
    return state_lib.TrainState.create(
      self.task.init(rngs[0]),
      self.optimizer,
      with_ema=True,
      frozen={},
      auxiliary=self.task.init_auxiliary(rngs[1]),
    )

  def step(self):
    return step_lib.make_step(
      self.task,
      self.task.get_phase(0),
      self.optimizer,
      self.optim,
      seed=0,
      schedule=self.schedule,
    )


def make_images(number, seed=0):
  rng = np.random.default_rng(seed)
  return {
    'image': jnp.asarray(rng.uniform(size=(number, 8, 8, 1)), jnp.float32)
  }


def at(step, state):
  return state.replace(step=jnp.int32(step))


@pytest.fixture(scope='module')
def runs(source, tmp_path_factory):
  """The same 8 steps, each saved, with an adversary and without."""
  folder = tmp_path_factory.mktemp('runs')
  for name, config in (
    ('plain', tiny_configs.autoencoder(source)),
    ('adversarial', adversarial_config(source)),
  ):
    config['train'] |= {'save_every': {'steps': 1}, 'keep': 9}
    loop.train(config, folder / name)
  return folder


def test_an_adversarial_loss_changes_nothing_before_its_start(runs):
  """Before the discriminator learns to the bit, then up to rounding.

  The two programs are compiled apart, and may fuse and round differently. A
  bit more or less is 2e-6 of a cluster of 16 vectors, and 1e-7 relative to it.
  """

  def differing(step, tolerance):
    a, b = (saved(runs / name, step) for name in ('plain', 'adversarial'))
    return [k for k in a if not np.allclose(a[k], b[k], tolerance, tolerance)]

  assert not differing(2, tolerance=0)
  assert not differing(4, tolerance=1e-6)
  assert differing(5, tolerance=1e-3)


def test_a_discriminator_is_trained_before_its_loss_is_active(runs):
  states = [saved(runs / 'adversarial', step) for step in (1, 2, 4)]
  kernels = [
    name for name in states[0] if 'auxiliary' in name and 'kernel' in name
  ]
  assert kernels
  for name in kernels:
    np.testing.assert_array_equal(states[0][name], states[1][name])
    assert not np.array_equal(states[1][name], states[2][name])


def test_metrics_of_each_phase_are_logged(runs):
  records = [
    record
    for record in writers.read_metrics(runs / 'adversarial')
    if record['kind'] == 'train'
  ]
  has = {
    r['step']: ('discriminator_loss' in r, 'adversarial_loss' in r)
    for r in records
  }
  trained, active = (True, False), (True, True)
  assert has == dict.fromkeys((1, 2), (False, False)) | dict.fromkeys(
    (3, 4), trained
  ) | dict.fromkeys((5, 6, 7, 8), active)


@pytest.mark.parametrize(('kept', 'phases'), [(1, 3), (3, 2), (5, 1)])
def test_stopping_and_resuming_changes_nothing(
  source, runs, tmp_path, capsys, kept, phases
):
  """In any phase, to the bit, the adversary and its optimizer too."""
  folder = tmp_path / 'stopped'
  shutil.copytree(runs / 'adversarial', folder)
  for path in (folder / layout.CHECKPOINTS).iterdir():
    if path.name.isdigit() and int(path.name) > kept:
      shutil.rmtree(path)
  loop.train(adversarial_config(source), folder)
  assert_same(saved(runs / 'adversarial'), saved(folder))
  messages = capsys.readouterr().err.count('begins a new phase')
  assert messages == phases - 1


@pytest.mark.slow
@pytest.mark.parametrize('changes', [
  {'update': 'alternating', 'loss': 'non_saturating'},
  {
    'adaptive': True,
    'discriminator': STYLEGAN,
    'r1': 1.0,
    'r1_every': 2,
    'lecam': 0.1,
  },
])  # fmt: skip
def test_pmap_over_eight_devices_is_jit(source, tmp_path, changes):
  config = adversarial_config(source, start=1, learns=0, **changes)
  config['train']['total_steps'] = 4
  loop.train(config, tmp_path / 'jit')
  loop.train({**config, 'parallel': {'mode': 'pmap'}}, tmp_path / 'pmap')
  assert_same(saved(tmp_path / 'jit'), saved(tmp_path / 'pmap'), atol=2e-5)


@pytest.mark.parametrize('adaptive', [False, True])
def test_the_gradient_is_that_of_the_weighted_sum(adaptive):
  """By one plain derivative of the whole loss, the weight held fixed."""
  networks = Networks(adaptive=adaptive, weight=0.3)
  task, state, batch = networks.task, networks.state(), make_images(8)
  batch, rngs = step_lib.add_keys(state, batch, 0, None)

  def parts(params):
    (image, rest), _ = task.reconstruct(params, state, batch, rngs)
    loss, _ = task.image_loss(image, batch['image'], {})
    generator_loss = task.discriminator.generator_loss(
      image, state.auxiliary.params
    )
    return loss, generator_loss, rest

  weight = 0.3
  if adaptive:
    last = [
      jax.jit(jax.grad(lambda p, i=i: parts(p)[i]))(state.params)
      for i in (0, 1)
    ]
    norms = [
      np.linalg.norm(np.ravel(grads['decoder']['OverlapAdd_0']['kernel']))
      for grads in last
    ]
    weight *= norms[0] / (norms[1] + 1e-4)

  def whole(params):
    loss, generator_loss, rest = parts(params)
    return loss + weight * generator_loss + rest

  want = jax.jit(jax.grad(whole))(state.params)
  got, _, metrics = jax.jit(
    lambda state: task.gradients(task.get_phase(0), state, batch, rngs)
  )(state)
  np.testing.assert_allclose(metrics['adversarial_weight'], weight, rtol=1e-4)
  np.testing.assert_allclose(metrics['loss'], whole(state.params), rtol=1e-5)
  got, want = trees.flatten(got['params']), trees.flatten(want)
  for name in want:
    np.testing.assert_allclose(
      got[name], want[name], rtol=1e-3, atol=1e-6, err_msg=name
    )


@pytest.mark.parametrize('order', ['simultaneous', 'alternating'])
def test_the_discriminator_sees_real_and_reconstructed_images(order):
  """The old reconstructions, or those of the autoencoder just updated."""
  networks = Networks(update=order)
  discriminator, batch = networks.discriminator, make_images(8)
  state = at(3, networks.state())
  new, metrics = jax.jit(networks.step())(state, batch)
  keyed, rngs = step_lib.add_keys(state, batch, 0, None)
  seen = new if order == 'alternating' else state
  (fake, _), _ = networks.task.reconstruct(
    seen.params, seen.replace(step=state.step), keyed, rngs
  )
  params = state.auxiliary.params

  def loss(params):
    logits = [
      discriminator.get_logits(params, x) for x in (batch['image'], fake)
    ]
    return discriminator.adversarial_loss.discriminator(*logits).mean()

  np.testing.assert_allclose(
    metrics['discriminator_loss'], loss(params), rtol=1e-5
  )
  updates, _ = discriminator.optimizer.update(
    jax.grad(loss)(params), state.auxiliary.opt_state, params
  )
  want = trees.flatten(optax.apply_updates(params, updates))
  got = trees.flatten(new.auxiliary.params)
  for name in want:
    np.testing.assert_allclose(got[name], want[name], atol=1e-5, err_msg=name)


def test_the_weight_rises_from_the_start():
  task = dataclasses.replace(Networks(weight=0.8).task, start=10, warmup=4)
  weights = [float(task.get_weight(jnp.int32(step))) for step in range(10, 16)]
  np.testing.assert_allclose(weights, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rtol=1e-6)


def test_a_lazy_penalty_has_the_same_mean_weight():
  """The penalty is computed every third step with three times the weight."""
  always = Networks(discriminator=STYLEGAN, r1=2.0)
  lazy = Networks(discriminator=STYLEGAN, r1=2.0, r1_every=3)
  phases = [lazy.task.get_phase(step).r1 for step in range(6)]
  assert phases == [True, False, False, True, False, False]
  state, batch = always.state(), make_images(8)
  fake = make_images(8, seed=1)['image']

  def gradient(networks, with_r1):
    grads, metrics = jax.jit(
      lambda auxiliary: networks.discriminator.gradients(
        auxiliary, batch['image'], fake, with_r1=with_r1
      )
    )(state.auxiliary)
    return trees.flatten(grads), metrics

  plain, _ = gradient(always, False)
  once, metrics = gradient(always, True)
  thrice, _ = gradient(lazy, True)
  assert metrics['r1'] > 0
  for name in plain:
    np.testing.assert_allclose(
      thrice[name] - plain[name],
      3 * (once[name] - plain[name]),
      rtol=1e-3,
      atol=1e-5,
    )


def test_lecam_averages_follow_the_logits_and_regularize_the_discriminator():
  networks = Networks(lecam=0.5, lecam_decay=0.75)
  state = networks.state()
  new, metrics = jax.jit(networks.step())(state, make_images(8))
  for kind in ('real', 'fake'):
    np.testing.assert_allclose(
      getattr(new.auxiliary.logit_means, kind),
      0.25 * metrics[f'logits_{kind}'],
      rtol=1e-5,
    )
  assert 'lecam' in metrics
  _, without = jax.jit(Networks().step())(state, make_images(8))
  assert (
    metrics['discriminator_grad_norm'] != without['discriminator_grad_norm']
  )


@pytest.mark.parametrize('order', ['simultaneous', 'alternating'])
def test_accumulation_over_parts_equals_the_whole_batch(order):
  """Without batch norm and EMA codebooks, which depend on the whole batch."""
  changes = {
    'discriminator': {**PATCHGAN, 'norm': 'none'},
    'update': order,
  }
  results = []
  for parts in (1, 4):
    networks = Networks(accumulate=parts, **changes)
    state = networks.state()
    batch = make_images(16)
    new, _ = jax.jit(networks.step())(at(3, state), batch)
    results.append(trees.flatten(new.auxiliary.params))
  for name in results[0]:
    np.testing.assert_allclose(
      results[0][name], results[1][name], atol=1e-4, err_msg=name
    )


def test_only_the_parts_that_are_named_learn(source, runs, tmp_path):
  """A new decoder is trained on fixed codes."""
  config = adversarial_config(source, only=('decoder',), start=0, learns=0)
  config['init_from'] = str(runs / 'plain')
  loop.train(config, tmp_path / 'decoder')
  before, _ = checkpoints.load_variables(runs / 'plain')
  after = saved(tmp_path / 'decoder')
  for path, leaf in jax.tree_util.tree_flatten_with_path(before)[0]:
    name = jax.tree_util.keystr(path)
    same = np.array_equal(leaf, after[f'variables{name}'])
    assert same == ("['decoder']" not in name), name


def test_a_missing_part_is_named(source, tmp_path):
  config = adversarial_config(source, only=('decodre',))
  with pytest.raises(schema.ConfigError, match="unknown part 'decodre'"):
    loop.train(config, tmp_path / 'run')


def test_missing_weights_of_a_loss_are_an_error_that_says_where_to_get_them(
  source, tmp_path, monkeypatch
):
  monkeypatch.setenv('VQ_JAX_WEIGHTS', str(tmp_path))
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  config = tiny_configs.autoencoder(source)
  config['loss']['lpips'] = 1.0
  with pytest.raises(ValueError, match='lpips'):
    loop.train(config, tmp_path / 'run')
  assert not (tmp_path / 'run' / layout.CONFIG).exists()


class Blue:
  """Replaces a perceptual network: compares the means of images only."""

  def apply(self, variables, image, reconstruction):
    means = [x.mean(axis=(1, 2, 3)) for x in (image, reconstruction)]
    return variables['scale'] * jnp.square(means[0] - means[1])


def test_a_perceptual_loss_is_weighted_and_reported():
  task = autoencoder.AutoencoderTask(
    model=None,
    config=autoencoder.Loss(l2=2.0, lpips=3.0),
    perceptual={'lpips': Blue()},
    perceptual_variables={},
  )
  a, b = make_images(4)['image'], make_images(4, seed=1)['image']
  loss, metrics = task.image_loss(b, a, {'lpips': {'scale': 10.0}})
  want = 10 * np.square(np.mean(a - b, axis=(1, 2, 3))).mean()
  np.testing.assert_allclose(metrics['lpips'], want, rtol=1e-4)
  l2 = losses.l2(a, b).mean()
  np.testing.assert_allclose(loss, 2 * l2 + 3 * want, rtol=1e-5)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'loss': 'hing'}, "Did you mean 'hinge'"),
    ({'discriminator': {'type': 'patchgam'}}, "Did you mean 'patchgan'"),
    ({'update': 'both'}, "must be 'simultaneous' or 'alternating'"),
    ({'r1_every': 0}, 'at least 1'),
    ({'discriminator_start': {'steps': 5}}, 'must not come after start'),
    ({'wieght': 1.0}, "Did you mean 'weight'"),
    ({'optim': {'lr': 1.0}}, 'unknown key of config.adversary.optim'),
    ({'optim': {'ema_decay': 0.9}}, "optim 'ema_decay'"),
    ({'discriminator': {'type': 'patchgan'}}, 'at least 24 x 24 pixels'),
  ],
)
def test_mistakes_in_the_section_are_named(changes, message):
  with pytest.raises(ValueError, match=message):
    Networks(**changes).task.init_auxiliary(jax.random.key(0))


def test_a_model_without_a_last_layer_has_no_adaptive_weight(source, tmp_path):
  config = adversarial_config(source, adaptive=True)
  config['model'] = {
    'type': 'vqvae2',
    'strides': (2, 2),
    'channels': 8,
    'residual_channels': 8,
    'image_channels': 1,
    'quantizer': {'type': 'ema_vq', 'codebook_size': 8, 'code_dim': 4},
  }
  with pytest.raises(schema.ConfigError, match='set it to False'):
    loop.train(config, tmp_path / 'run')
  config['adversary']['adaptive'] = False
  config['train']['total_steps'] = 5
  assert np.isfinite(loop.train(config, tmp_path / 'run')['psnr'])


def test_other_tasks_have_no_adversary(source, tokenizer, tmp_path):
  config = tiny_configs.prior(source, tokenizer)
  config['adversary'] = {'discriminator': PATCHGAN}
  with pytest.raises(schema.ConfigError, match='unknown key'):
    loop.train(config, tmp_path / 'run')
