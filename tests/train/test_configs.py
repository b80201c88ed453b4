"""Every card runs, and every leaf of it is read."""

import ast
import dataclasses
import inspect
import pathlib
import textwrap

import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image

import vq_jax
from train import config as config_lib
from train import loop
from vq_jax.config import schema
from train import tasks
from train.tasks import autoencoder
from train.tasks import autoregressive
from train.tasks import discriminator
from train.tasks import maskgit
from train.tasks import token_critic
from train.tasks import vae
from vq_jax import samplers
from vq_jax.config import registry

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
CARDS = sorted(path.stem for path in CONFIGS.glob('*.py'))
# What a card learns from: key of the card -> card that makes it.
LEARNS_FROM = {
  'quickstart_maskgit': {'autoencoder': 'quickstart_tokenizer'},
  'folder_maskgit': {'autoencoder': 'folder_tokenizer'},
  'halton_maskgit_base_imagenet256': {
    'autoencoder': 'vqgan_f16_16384_imagenet256'
  },
  'maskgit_imagenet256': {'autoencoder': 'maskgit_tokenizer_imagenet256'},
  'maskgit_imagenet512': {'autoencoder': 'maskgit_tokenizer_imagenet256'},
  'finetune_decoder': {'init_from': 'vqgan_f16_16384_imagenet256'},
  'finetune_maskgit': {
    'autoencoder': 'maskgit_tokenizer_imagenet256',
    'init_from': 'maskgit_imagenet256',
  },
  'pixelcnn_cifar10': {'autoencoder': 'vqvae_cifar10'},
  'token_critic_imagenet256': {'generator': 'maskgit_imagenet256'},
  'vit_vqgan_vim_base_imagenet256': {
    'autoencoder': 'vit_vqgan_base_imagenet256'
  },
  'vit_vqgan_vim_large_imagenet256': {
    'autoencoder': 'vit_vqgan_small_imagenet256'
  },
  'vqgan_transformer_f16_1024_imagenet256': {
    'autoencoder': 'vqgan_f16_1024_imagenet256'
  },
  'vqgan_transformer_f16_16384_imagenet256': {
    'autoencoder': 'vqgan_f16_16384_imagenet256'
  },
  'vqvae2_top_imagenet256': {'autoencoder': 'vqvae2_imagenet256'},
  'vqvae2_bottom_imagenet256': {
    'autoencoder': 'vqvae2_imagenet256',
    'coarser': 'vqvae2_top_imagenet256',
  },
}


def smoke(name: str, folder: pathlib.Path) -> ml_collections.ConfigDict:
  """The shrunken card, on images that it would find."""
  card = config_lib.load_config(f'{CONFIGS / name}.py:smoke')
  card.data.source = fake_source(card.data.source, folder)
  return card


def fake_source(source: str, folder: pathlib.Path) -> str:
  rng = np.random.default_rng(0)
  if source.startswith('folder:'):
    for i in range(200):
      path = folder / 'images' / 'ab'[i % 2] / f'{i}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      pixels = rng.integers(0, 256, (80, 70, 3), dtype=np.uint8)
      Image.fromarray(pixels).save(path)
    return f'folder:{folder / "images"}'
  assert source == 'tfds:fashion_mnist_mini', 'a smoke run needs no download'
  return source


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
  """Trains a card once, by name, and its tokenizer before it."""
  done = {}

  def train(name: str) -> pathlib.Path:
    if name not in done:
      folder = tmp_path_factory.mktemp(name)
      card = smoke(name, folder)
      for key, other in LEARNS_FROM.get(name, {}).items():
        card[key] = str(train(other))
      with Recorder() as recorder:
        loop.train(card, folder / 'run')
      recorder.check(card)
      done[name] = folder / 'run'
    return done[name]

  return train


class Recorder:
  """Watches which fields of the settings' dataclasses are read."""

  CLASSES = (
    schema.DataConfig,
    schema.OptimConfig,
    schema.TrainConfig,
    schema.ParallelConfig,
    schema.Config,
    settings_lib.AutoencoderCard,
    discriminator.Adversarial,
    settings_lib.PriorCard,
    settings_lib.CriticCard,
    samplers.MaskGITSampler,
    samplers.AutoregressiveSampler,
    autoencoder.Loss,
    autoregressive.Loss,
    maskgit.Loss,
    token_critic.Loss,
    vae.Loss,
  )

  def __enter__(self):
    self.read = {}
    for cls in self.CLASSES:
      cls.__getattribute__ = self._watch(cls)
    return self

  def __exit__(self, *exception):
    for cls in self.CLASSES:
      del cls.__getattribute__

  def _watch(self, cls):
    read = self.read.setdefault(cls.__name__ + cls.__module__, set())

    def getattribute(instance, name):
      read.add(name)
      return object.__getattribute__(instance, name)

    return getattribute

  def check(self, card) -> None:
    module = tasks.get_task_module(card.task)
    causal_prior = card.task == 'autoregressive'
    sampling = (
      samplers.AutoregressiveSampler
      if causal_prior
      else samplers.MaskGITSampler
    )
    loss = autoencoder.Loss if card.task == 'adversarial' else module.Loss
    classes = {
      '': module.Config,
      'data': schema.DataConfig,
      'optim': schema.OptimConfig,
      'train': schema.TrainConfig,
      'parallel': schema.ParallelConfig,
      'loss': loss,
      'sampling': sampling,
      'adversary': discriminator.Adversarial,
    }
    for section, cls in classes.items():
      keys = set(card if not section else card.get(section, {}))
      if not section:  # read by `vq_jax.model`, from config.json
        keys.remove('model')
      unread = keys - self.read[cls.__name__ + cls.__module__]
      assert not unread, (
        f'nothing reads {sorted(unread)} of {section or "config"}'
      )


@pytest.mark.parametrize('name', CARDS)
def test_card_runs_and_every_leaf_is_read(name, trained):
  folder = trained(name)
  loaded = vq_jax.load(folder)
  assert loaded.config['card']['seed'] == 0


@pytest.mark.parametrize('name', CARDS)
def test_fields_of_modules_are_read_by_their_code(name):
  """A field of a spec must stand in the code of the class that it builds."""
  card = config_lib.load_config(f'{CONFIGS / name}.py')
  root = {
    'maskgit': 'prior',
    'autoregressive': 'prior',
    'token_critic': 'critic',
  }.get(card.task, 'autoencoder')
  for kind, spec in specs(root, card.model):
    source = source_of(registry.REGISTRY[kind][spec['type']])
    for field in spec:
      if field not in ('type', *registry.REGISTRY):
        assert field in source, f'{spec["type"]} never reads {field}'


def specs(kind, spec):
  yield kind, spec
  for field, value in spec.items():
    if field in registry.REGISTRY and field != 'type':
      yield from specs(field, value)


def source_of(factory) -> set[str]:
  """The names that a class, with those it extends, or a function reads."""
  classes = inspect.getmro(factory) if isinstance(factory, type) else [factory]
  ours = [c for c in classes if c.__module__.startswith('vq_jax.')]
  trees = [ast.parse(textwrap.dedent(inspect.getsource(c))) for c in ours]
  return {
    node.attr if isinstance(node, ast.Attribute) else node.id
    for tree in trees
    for node in ast.walk(tree)
    if isinstance(node, ast.Attribute | ast.Name)
    and isinstance(node.ctx, ast.Load)
  }


@pytest.mark.parametrize('name', CARDS)
def test_cards_import_nothing_of_ours_and_name_a_command(name):
  tree = ast.parse((CONFIGS / f'{name}.py').read_text())
  modules = {
    (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
    for node in ast.walk(tree)
    if isinstance(node, ast.Import | ast.ImportFrom)
  }
  assert modules == {'ml_collections'}
  assert 'python -m train.' in ast.get_docstring(tree)


@pytest.mark.parametrize('name', CARDS)
def test_unknown_variant_is_refused(name):
  with pytest.raises(ValueError, match='no variant .*smoke'):
    config_lib.load_config(f'{CONFIGS / name}.py:smokey')


def card():
  return config_lib.load_config(str(CONFIGS / 'quickstart_tokenizer.py'))


@pytest.mark.parametrize(
  ('key', 'text', 'value'),
  [
    ('optim.learning_rate', '1e-4', 1e-4),
    ('optim.learning_rate', '1', 1.0),
    ('train.total_steps', '7', 7),
    ('data.source', 'folder:a b', 'folder:a b'),
    ('data.eval_limit', '10', 10),
    ('data.eval_limit', 'None', None),
    ('init_from', 'runs/x', 'runs/x'),
    ('init_keep', "('a', 'b')", ('a', 'b')),
  ],
)
def test_leaves_are_overridden_by_type(key, text, value):
  changed = card()
  config_lib.override(changed, key, text)
  found = changed
  for part in key.split('.'):
    found = found[part]
  assert found == value and type(found) is type(value)


def test_a_section_is_overridden_as_a_whole():
  changed = card()
  config_lib.override(changed, 'train.total_steps', "{'epochs': 3}")
  assert changed.train.total_steps.to_dict() == {'epochs': 3}


@pytest.mark.parametrize(
  ('key', 'text', 'message'),
  [
    ('optim.lerning_rate', '1', "Did you mean 'learning_rate'.*Valid:.*b2"),
    ('optm.b2', '1', "unknown key of config 'optm'. Did you mean 'optim'"),
    ('optim.b2.x', '1', 'unknown key of config.optim.b2'),
    ('data.batch_size', 'many', "is of type int .*got 'many'"),
    ('data.batch_size', '1.5', 'is of type int'),
    ('train.total_steps', '3', 'is of type dict'),
  ],
)
def test_bad_overrides_are_named(key, text, message):
  with pytest.raises(schema.ConfigError, match=message):
    config_lib.override(card(), key, text)


@pytest.mark.parametrize(
  ('section', 'key'),
  [
    ('data', 'batchsize'),
    ('optim', 'lr'),
    ('train', 'steps'),
    ('parallel', 'fdsp'),
    ('loss', 'l3'),
    ('model', 'encodr'),
  ],
)
def test_unknown_keys_fail_before_anything_is_made(section, key, tmp_path):
  changed = card()
  changed[section][key] = 1
  with pytest.raises(ValueError, match=f"{key}'.*Valid: "):
    loop.train(changed, tmp_path / 'run')
  made = tmp_path / 'run'
  assert not made.exists() or {p.name for p in made.iterdir()} <= {'.lock'}


def test_unknown_task_and_top_level_key_are_named(tmp_path):
  changed = card()
  changed.task = 'autoencode'
  with pytest.raises(ValueError, match="Did you mean 'autoencoder'"):
    loop.train(changed, tmp_path)
  changed = card()
  changed.sede = 1
  with pytest.raises(ValueError, match="Did you mean 'seed'"):
    loop.train(changed, tmp_path)


def test_missing_cards_are_named_with_those_there_are():
  with pytest.raises(schema.ConfigError, match='quickstart_maskgit.py'):
    config_lib.load_config(str(CONFIGS / 'quickstar.py'))


def test_durations():
  def steps(total=200, **given):
    duration = schema.Duration(**given)
    return duration.resolve(steps_per_epoch=12.5, total=total)

  assert steps(steps=7) == 7
  assert steps(epochs=2) == 25
  assert steps(percent=25) == 50
  with pytest.raises(schema.ConfigError, match='percentage of itself'):
    steps(total=None, percent=1)
  for bad in ({}, {'steps': 1, 'epochs': 1}):
    with pytest.raises(schema.ConfigError, match='one of'):
      schema.Duration(**bad)
  with pytest.raises(schema.ConfigError, match='steps must be a whole'):
    schema.Duration(steps=-1)


def test_differences_leave_out_what_is_free_to_change():
  old = {'data': {'workers': 0, 'batch_size': 2}, 'parallel': {'mode': 'jit'}}
  new = {'data': {'workers': 4, 'batch_size': 2}, 'parallel': {'mode': 'pmap'}}
  assert config_lib.differences(old, new) == []
  new['data']['batch_size'] = 3
  assert config_lib.differences(old, new) == [
    '  data.batch_size: 2 there, 3 here'
  ]


def test_settings_are_frozen_dataclasses():
  for cls in Recorder.CLASSES:
    assert dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen


@pytest.mark.parametrize(
  ('card', 'spread'),
  [
    ('maskgit_tokenizer_imagenet256', np.sqrt(1 / 1024)),
    ('vqgan_f16_1024_imagenet256', 1 / 1024 / np.sqrt(3)),
    ('vqgan_f16_16384_imagenet256', 1 / 16384 / np.sqrt(3)),
    ('llamagen_vq16_imagenet256', np.sqrt(1 / 8)),
    ('vit_vqgan_base_imagenet256', 1.0),
    ('vqvae_cifar10', np.sqrt(1 / 64)),
  ],
)
def test_codebooks_begin_as_published(card, spread):
  spec = config_lib.load_config(str(CONFIGS / f'{card}.py')).to_dict()['model']
  quantizer = registry.build('quantizer', spec['quantizer'])
  table = quantizer.codebook_init(
    jax.random.key(0), (quantizer.codebook_size, quantizer.code_dim)
  )
  np.testing.assert_allclose(table.std(), spread, rtol=0.02)
