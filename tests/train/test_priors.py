"""Training, evaluation and sampling of all priors."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vq_jax
from tests.priors import tiny
from tests.train import tiny_configs
from tests.train.saving import assert_same
from tests.train.saving import saved
from train import loop
from train.logging import writers
from train.tasks import maskgit
from vq_jax import priors
from vq_jax import samplers
from vq_jax.config import schema
from vq_jax.inference import generate
from vq_jax.workflows import tokenize

MODELS = {
  'autoregressive': {
    'type': 'autoregressive',
    'transformer': {
      'layers': 1,
      'width': 16,
      'heads': 2,
      'mlp_width': 32,
      'dropout': 0.0,
    },
  },
  'pixelcnn': {
    'type': 'pixelcnn',
    'layers': 2,
    'channels': 8,
    'head_channels': 8,
  },
  'pixelsnail': {
    'type': 'pixelsnail',
    'blocks': 1,
    'residual_layers': 1,
    'channels': 8,
    'residual_channels': 8,
    'heads': 2,
    'output_layers': 1,
    'parent_layers': 1,
    'dropout': 0.0,
  },
}


def make_config(kind, source, tokenizer, **train):
  config = tiny_configs.prior(source, tokenizer, **train)
  if kind != 'maskgit':
    config['task'] = 'autoregressive'
    config['model'] = MODELS[kind]
    config['loss'] = {'token_noise': 0.1, 'label_drop': 0.2}
    config['sampler'] = {'top_k': 8, 'top_p': 0.95, 'guidance': 1.0}
  return config


@pytest.fixture(scope='module')
def trained(source, tokenizer, maskgit, tmp_path_factory):
  """Trains each kind of prior once; returns its run folder."""
  done = {'maskgit': maskgit}

  def train(kind):
    if kind not in done:
      done[kind] = tmp_path_factory.mktemp(kind)
      loop.train(make_config(kind, source, tokenizer), done[kind])
    return done[kind]

  return train


@pytest.mark.parametrize('kind', MODELS)
def test_a_causal_prior_is_trained_and_sampled(kind, trained):
  model = vq_jax.load(trained(kind))
  result = np.asarray(model.generate(0, num=3))
  assert result.shape == (3, 8, 8, 1)
  np.testing.assert_allclose(
    result, model.generate(0, num=3, batch_size=2), atol=1e-6
  )
  assert (result != np.asarray(model.generate(1, num=3))).any()


@pytest.mark.parametrize('kind', ['autoregressive', 'pixelcnn'])
def test_bits_per_token_are_those_of_the_chain_rule(kind, trained, source):
  """The logged value is the mean of -log2 p over all held-out tokens."""
  folder = trained(kind)
  model = vq_jax.load(folder)
  file = np.load(source.removeprefix('npz:'))
  images, labels = file['images'][:20], file['labels'][:20]
  tokens = np.asarray(model.encode(images)).reshape(20, 16)
  logits = jax.jit(model.prior.apply)(
    model.variables['prior'], tokens, label=labels
  )
  log_p = np.asarray(jax.nn.log_softmax(logits))
  picked = np.take_along_axis(log_p, tokens[..., None], axis=-1)
  logged = writers.last_evaluation(folder)['bits_per_token']
  np.testing.assert_allclose(logged, -picked.mean() / np.log(2), rtol=1e-4)


def test_an_untrained_maskgit_needs_log2_k_bits_per_token(
  source, tokenizer, tmp_path
):
  """Before it has learned anything, a code costs log2 K bits, masked or not."""
  config = tiny_configs.prior(source, tokenizer, total_steps=1)
  config['optim'] = {**config['optim'], 'learning_rate': 0.0}
  found = loop.train(config, tmp_path)
  np.testing.assert_allclose(found['bits_per_token'], np.log2(16), rtol=0.02)


def test_masks_of_all_kinds_are_trained_on(source, tokenizer, tmp_path):
  config = tiny_configs.prior(source, tokenizer)
  config['loss'] = {
    'schedule': 'arccos',
    'min_ratio': 0.9,
    'mask_ratio_per': 'batch',
    'mask': 'independent',
    'unmasked_weight': 1.0,
  }
  loop.train(config, tmp_path)
  ratios = [
    line['masked_ratio']
    for line in writers.read_metrics(tmp_path)
    if line['kind'] == 'train'
  ]
  assert 0.8 < min(ratios)
  for name in ('mask_ratio_per', 'mask', 'loss_reduction'):
    config['loss'] = {name: 'nothing'}
    with pytest.raises(ValueError, match=f'config.loss.{name} must be'):
      loop.train(config, tmp_path / name)


@pytest.mark.parametrize('reduction', ['tokens', 'examples'])
def test_loss_reduction_averages_tokens_or_examples(reduction):
  """With constant logits the loss of a token depends on the token only."""
  vocab = priors.Vocab(codebook_size=5)
  prior = tiny.make(
    priors.MaskGIT, vocab=vocab, layers=1, width=4, heads=1, dropout=0.0
  )
  tokens = jax.random.randint(jax.random.key(0), (16, 3, 4), 0, 5)
  batch = {
    'tokens': tokens,
    'label': jnp.zeros(16, jnp.int32),
    'key': jax.random.split(jax.random.key(1), 16),
  }
  params = prior.init(jax.random.key(2), tokens.reshape(16, -1))['params']
  bias = jnp.linspace(-3, 3, len(params['bias_out']))
  params = {**jax.tree.map(jnp.zeros_like, params), 'bias_out': bias}
  settings = maskgit.Loss(loss_reduction=reduction, label_smoothing=0.0)
  keys = jax.vmap(jax.random.split)(batch['key'])[:, 0]
  mask = np.asarray(settings.make_masks(keys, 12, None))
  nll = -np.asarray(jax.nn.log_softmax(bias[:5]))[tokens.reshape(16, -1)]
  want = {
    'tokens': (nll * mask).sum() / mask.sum(),
    'examples': ((nll * mask).sum(-1) / mask.sum(-1)).mean(),
  }
  model = types.SimpleNamespace(
    prior=prior,
    autoencoder=types.SimpleNamespace(token_grids=(None,)),
    level=0,
  )
  task = maskgit.MaskGITTask(model=model, config=settings)
  rngs = {'dropout': jax.random.key(3), 'code': None}
  state = types.SimpleNamespace(frozen={'autoencoder': {}}, codebook={})
  got, _ = task.loss(params, state, batch, rngs)
  np.testing.assert_allclose(got, want[reduction], rtol=1e-5)
  assert abs(want['tokens'] - want['examples']) > 0.01


@pytest.mark.parametrize(
  ('kind', 'options', 'message'),
  [
    ('autoregressive', {'steps': 8}, 'steps is not an option.*one token after'),
    (
      'pixelcnn',
      {'order': 'halton'},
      'order is not an option of AutoregressiveSampler',
    ),
    ('autoregressive', {'guidence': 2}, "unknown.*Did you mean 'guidance'"),
    ('autoregressive', {'top_k': 0}, 'top_k'),
    ('autoregressive', {'top_p': 1.5}, 'top_p'),
    ('maskgit', {'order': 'diagonal'}, "unknown order 'diagonal'.*halton"),
    ('maskgit', {'order': 'critic'}, 'needs the scores of a token critic'),
  ],
)
def test_inputs_that_do_not_fit_a_prior_are_refused(
  kind, options, message, trained
):
  model = vq_jax.load(trained(kind))
  with pytest.raises(ValueError, match=message):
    samplers.with_options(model.info.sampler, options)
    model.generate(0, num=1, sampler=samplers.MaskGITSampler(**options))


@pytest.mark.parametrize(
  'options',
  [
    {'order': 'halton', 'logit_scale': 1.2},
    {'order': 'random', 'remask': 0.3, 'remask_limit': 'rescale'},
    {'guidance': 1e5, 'guidance_schedule': 'constant'},
    {
      'guidance': 1e5,
      'guidance_schedule': 'power_cosine',
      'guidance_power': 3.0,
    },
    {'top_k': 2},
    {'top_p': 0.3},
    {'temperature': 0.1},
    {'schedule': 'exp'},
    {'choice_temperature': 100.0},
  ],
)
def test_every_option_reaches_the_sampler(options, trained):
  model = vq_jax.load(trained('maskgit'))
  plain = np.asarray(model.generate(0, num=12))
  sampler = samplers.with_options(model.info.sampler, options)
  other = np.asarray(model.generate(0, num=12, sampler=sampler))
  assert (plain != other).any()


@pytest.mark.parametrize('kind', ['maskgit', 'autoregressive'])
def test_a_trace_has_an_image_for_each_step(kind, trained):
  """The last of the intermediate images is the sample."""
  model = vq_jax.load(trained(kind))
  (steps,) = model.generate_batches(0, num=2, trace=True)
  assert steps.shape == (2, 3 if kind == 'maskgit' else 4, 8, 8, 1)
  np.testing.assert_allclose(steps[:, -1], model.generate(0, num=2), atol=1e-6)
  if kind == 'autoregressive':  # a row of codes is two rows of pixels
    for t in range(4):
      grey = (np.asarray(steps[:, t]) == 0.5).all(axis=(0, 2, 3))
      np.testing.assert_array_equal(grey, np.arange(8) >= 2 * (t + 1))


def two_levels(source):
  """A config of a VQ-VAE-2 with two codes for a latent."""
  config = tiny_configs.autoencoder(source, total_steps=2)
  inner = {'type': 'vq', 'codebook_size': 8, 'code_dim': 4}
  config['model'] = {
    'type': 'vqvae2',
    'strides': (2, 2),
    'channels': 8,
    'residual_channels': 4,
    'residual_blocks': 1,
    'image_channels': 1,
    'quantizer': {'type': 'residual', 'levels': 2, 'quantizer': inner},
  }
  return config


@pytest.fixture(scope='module')
def hierarchy(source, tmp_path_factory):
  """Runs of a VQ-VAE-2 and of its top prior; its codes on disk."""
  folder = tmp_path_factory.mktemp('hierarchy')
  loop.train(two_levels(source), folder / 'vqvae2')
  top = make_config('autoregressive', source, str(folder / 'vqvae2'))
  loop.train(top, folder / 'top')
  tokenize.tokenize(
    vq_jax.load(folder / 'vqvae2'),
    folder / 'tokens',
    source=source,
    splits={'train': 'train', 'test': 'train[:16]'},
    batch_size=16,
  )
  return folder


def finer(kind, source, folder, **train):
  config = make_config(kind, source, str(folder / 'vqvae2'), **train)
  return {**config, 'level': 1, 'parent_prior': str(folder / 'top')}


@pytest.fixture(scope='module')
def trained_child(source, hierarchy, tmp_path_factory):
  """Trains each kind of prior of the child level once; returns its folder."""
  done = {}

  def train(kind):
    if kind not in done:
      done[kind] = tmp_path_factory.mktemp(f'finer_{kind}')
      loop.train(finer(kind, source, hierarchy), done[kind])
    return done[kind]

  return train


@pytest.mark.parametrize('kind', ['pixelsnail', 'autoregressive', 'maskgit'])
def test_levels_are_learned_one_by_one_and_sampled_as_one(kind, trained_child):
  model = vq_jax.load(trained_child(kind))
  assert model.prior.grid == (4, 8) and model.parent.prior.grid == (2, 4)
  samples = np.asarray(model.generate(0, num=3))
  assert samples.shape == (3, 8, 8, 1)
  np.testing.assert_array_equal(samples, model.generate(0, num=3))
  (steps,) = model.generate_batches(0, num=3, trace=True)
  np.testing.assert_allclose(steps[:, -1], samples, atol=1e-6)


def test_tokens_on_disk_give_the_same_run_as_images(
  trained_child, hierarchy, tmp_path
):
  config = finer('maskgit', f'tokens:{hierarchy / "tokens"}', hierarchy)
  config['data'] = {**config['data'], 'eval_split': 'test'}
  loop.train(config, tmp_path)
  assert_same(saved(trained_child('maskgit')), saved(tmp_path), atol=1e-5)


def test_the_child_level_depends_on_the_parent_level(trained_child):
  """Other parent tokens give other tokens, sampled with the same keys."""
  model = vq_jax.load(trained_child('maskgit'))
  table = model.variables['prior']['params']['parent_embedding']
  table['embedding'] *= 1000  # so few steps have not taught it to listen
  calm = dataclasses.replace(
    model.parent,
    variables={
      **model.parent.variables,
      'prior': jax.tree.map(np.zeros_like, model.parent.variables['prior']),
    },
  )
  keys = samplers.example_keys(jax.random.key(0), np.arange(3))
  label = np.arange(3)
  tokens = [
    generate.sample_levels(m.levels, keys, label)
    for m in (model, dataclasses.replace(model, parent=calm))
  ]
  for one, other in zip(*tokens, strict=True):
    assert (np.asarray(one) != np.asarray(other)).any()


def test_a_level_without_the_others_cannot_sample_images(hierarchy):
  with pytest.raises(ValueError, match='level 0 of 2.*config.level=1'):
    vq_jax.load(hierarchy / 'top').generate(0)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'parent_prior': None}, 'must be given above level 0'),
    ({'level': 0}, 'must be given above level 0, and only there'),
    ({'level': 2}, 'must be the prior of level 1; .* is that of level 0'),
    ({'parent_prior': 'autoencoder'}, 'give the run of a prior'),
    ({'parent_prior': 'other'}, 'tokens of another autoencoder'),
    ({'model': 'pixelcnn'}, 'cannot be conditioned on a parent level'),
  ],
)
def test_levels_that_do_not_fit_are_refused(
  change, message, source, hierarchy, trained, tmp_path
):
  config = finer('autoregressive', source, hierarchy)
  named = {
    'autoencoder': str(hierarchy / 'vqvae2'),
    'other': str(trained('autoregressive')),
    'pixelcnn': MODELS['pixelcnn'],
  }
  config.update({k: named.get(v, v) for k, v in change.items()})
  with pytest.raises(ValueError, match=message):
    loop.train(config, tmp_path / 'run')


def critic_config(source, generator, **train):
  config = tiny_configs.prior(source, 'none', **train)
  del config['autoencoder']
  config.update(
    task='token_critic',
    generator=str(generator),
    model={
      'type': 'token_critic',
      'transformer': {
        'layers': 1,
        'width': 16,
        'heads': 2,
        'mlp_width': 32,
      },
    },
    loss={'schedule': 'cosine', 'temperature': 1.0},
    sampler={'steps': 3, 'order': 'critic', 'choice_temperature': 2.0},
  )
  return config


def test_a_critic_learns_and_orders_tokens(source, maskgit, tmp_path):
  loop.train(critic_config(source, maskgit), tmp_path)
  model = vq_jax.load(tmp_path)
  result = np.asarray(model.generate(0, num=6))
  assert result.shape == (6, 8, 8, 1)
  sampler = dataclasses.replace(model.info.sampler, order='random')
  assert (result != np.asarray(model.generate(0, num=6, sampler=sampler))).any()
  deaf = jax.tree.map(np.zeros_like, model.variables['critic'])
  without = dataclasses.replace(
    model, variables={**model.variables, 'critic': deaf}
  )
  assert (result != np.asarray(without.generate(0, num=6))).any()
  found = writers.last_evaluation(tmp_path)
  assert 0 < found['critic_loss'] < 1


def test_a_critic_needs_the_run_of_a_maskgit(
  source, trained, tokenizer, tmp_path
):
  for run in (trained('pixelcnn'), tokenizer):
    with pytest.raises(ValueError, match='scores the tokens of a MaskGIT'):
      loop.train(critic_config(source, run), tmp_path / 'run')


def test_a_causal_prior_is_a_function_of_its_config(
  source, tokenizer, trained, tmp_path
):
  config = make_config('pixelcnn', source, tokenizer)
  with pytest.raises(schema.ConfigError):
    loop.train({**config, 'level': 1}, tmp_path)
  assert not (tmp_path / 'config.json').exists()
  loop.train(config, tmp_path)
  assert_same(saved(trained('pixelcnn')), saved(tmp_path))


@pytest.mark.slow
def test_bits_per_dim_add_the_token_bits_and_the_decoder_bits(source, tmp_path):
  """Bits per dimension are those of the prior and of the decoder together."""
  config = tiny_configs.autoencoder(source)
  config['model'] = {
    'type': 'vqvae_sonnet',
    'image_channels': 1,
    'likelihood': {'type': 'pixelwise_logistic'},
    'quantizer': {'type': 'ema_vq', 'codebook_size': 16, 'code_dim': 4},
  }
  config['loss'] = {'l2': 0.0, 'nll': 1.0, 'quantizer': 1.0}
  found = loop.train(config, tmp_path / 'tokenizer')
  lines = writers.read_metrics(tmp_path / 'tokenizer')
  nll = [line['nll'] for line in lines if line['kind'] == 'train']
  assert nll[-1] < nll[0]
  model = vq_jax.load(tmp_path / 'tokenizer')
  image = np.load(source.removeprefix('npz:'))['images'][:20] / np.float32(255)
  log_p, mean, _ = model.autoencoder.apply(
    model.variables['autoencoder'], image, method='likelihood_terms'
  )
  want = -np.mean(log_p) / 64 / np.log(2)
  np.testing.assert_allclose(found['decoder_bits_per_dim'], want, rtol=1e-4)
  np.testing.assert_allclose(
    np.clip(mean, 0, 1), model.reconstruct(image), atol=1e-5
  )

  for kind in ('pixelcnn', 'maskgit'):
    prior = make_config(kind, source, str(tmp_path / 'tokenizer'))
    found = loop.train(prior, tmp_path / kind)
    np.testing.assert_allclose(
      found['bits_per_dim'], want + found['bits_per_token'] * 4 / 64, rtol=1e-4
    )


def test_an_nll_weight_needs_a_likelihood(source, tmp_path):
  config = tiny_configs.autoencoder(source)
  config['loss'] = {'nll': 1.0}
  with pytest.raises(ValueError, match='this autoencoder has none'):
    loop.train(config, tmp_path)
