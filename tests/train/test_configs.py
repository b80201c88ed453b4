"""Every config runs, and every field of the schema can be set on it."""

import ast
import dataclasses
import inspect
import pathlib
import textwrap
import typing

import flax.linen as nn
import jax
import numpy as np
import pytest
from PIL import Image

import vq_jax
from configs import common
from tests.train import custom_parts
from tests.train import tiny_configs
from train import config as config_lib
from train import loop
from train import run_folder
from vq_jax.config import modules
from vq_jax.config import parse
from vq_jax.config import registry
from vq_jax.config import schema
from vq_jax.utils import fields as fields_lib

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
NAMES = sorted(p.stem for p in CONFIGS.glob('*.py') if p.stem != 'common')


def get_needs(name: str) -> dict[str, str]:
  """The runs that a config needs: its field -> the config that makes it."""
  needs = config_lib.get_learns_from(f'{CONFIGS / name}.py')
  return {field: pathlib.Path(path).stem for field, path in needs.items()}


def load(name: str, variant: str = '') -> dict:
  path = f'{CONFIGS / name}.py'
  return config_lib.load_config(f'{path}:{variant}' if variant else path)


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


# One config for each kind of model and task. The others differ from one of them
# in sizes, in the quantizer or in what they start from; the quickstart's and
# fine-tuning have tests of their own.
TRAINED = (
  'ae_fashion',
  'folder_tokenizer',
  'maskgit_imagenet256',
  'maskgit_tokenizer_imagenet256',
  'pixelcnn_cifar10',
  'token_critic_imagenet256',
  'vae_fashion',
  'vit_vqgan_base_imagenet256',
  'vqgan_f16_1024_imagenet256',
  'vqgan_transformer_f16_1024_imagenet256',
  'vqvae2_imagenet256',
  'vqvae2_top_imagenet256',
  'vqvae_cifar10',
)


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
  """Trains the smoke variant of a config once, and the runs that it needs."""
  done = {}

  def train(name: str) -> pathlib.Path:
    if name not in done:
      folder = tmp_path_factory.mktemp(name)
      config = load(name, 'smoke')
      source = fake_source(config['data']['source'], folder)
      config['data'] = {**config['data'], 'source': source}
      config['parallel'] = {'data': 1}
      for key, other in get_needs(name).items():
        config[key] = str(train(other))
      loop.train(config, folder / 'run')
      done[name] = folder / 'run'
    return done[name]

  return train


@pytest.mark.slow
@pytest.mark.parametrize('name', TRAINED)
def test_a_config_runs(name, trained):
  loaded = vq_jax.load(trained(name))
  want = config_lib.parse_config(load(name, 'smoke'))
  assert loaded.config['optim'] == parse.to_dict(want.optim)


def make_model(name: str, variant: str) -> tuple[nn.Module, dict]:
  """Makes the module of a config, and the `config.json` of its run."""
  config = load(name, variant)
  preprocess = config['data'].get('eval_preprocess', ())
  size = preprocess[-1]['size'] if preprocess else 32
  channels = config['data'].get('channels', 3)
  if 'fashion_mnist' in config['data']['source'] and not preprocess:
    size, channels = 28, 1
  run = {
    'config': config,
    'dataset': {'image_shape': (size, size, channels)},
    'labels': {'num_classes': 10, 'null_class': True},
  }
  needs = get_needs(name)
  if 'generator' in needs:
    generator, _ = make_model(needs['generator'], variant)
    return modules.make_critic(run, generator), run
  if 'autoencoder' in needs:
    tokenizer, _ = make_model(needs['autoencoder'], variant)
    return modules.make_prior(run, tokenizer), run
  return modules.make_autoencoder(run), run


@pytest.mark.parametrize('variant', ['', 'smoke'])
@pytest.mark.parametrize('name', NAMES)
def test_a_config_parses_and_its_model_has_variables(name, variant):
  """At the published sizes, too: no array is allocated."""
  config_lib.parse_config(load(name, variant))
  module, run = make_model(name, variant)
  init = modules.init_prior
  arguments = (module,)
  if not get_needs(name).keys() & {'autoencoder', 'generator'}:
    init = modules.init_autoencoder
    arguments = (module, run['dataset']['image_shape'])
  variables = jax.eval_shape(
    lambda: init(
      *arguments, {'params': jax.random.key(0), 'code': jax.random.key(1)}
    )
  )
  assert jax.tree.leaves(variables['params'])


def test_own_quantizers_and_data_are_named_by_import_path(tmp_path):
  config = tiny_configs.autoencoder('tests.train.custom_parts:Stripes')
  config['model']['quantizer'] = {
    'type': 'tests.train.custom_parts:SignQuantizer',
    'code_dim': 5,
  }
  config_lib.override(config, 'model.quantizer.code_dim', '3')
  loop.train(config, tmp_path)
  model = vq_jax.load(tmp_path)
  assert model.run_config['dataset']['class_names'] == ['0', '1']
  tokens = model.encode(custom_parts.Stripes('test').images[:2])
  assert tokens.shape == (2, 4, 4) and tokens.max() < 8


def walk(holder, node, prefix=''):
  """Yields the path, type and default of each field that can be set."""
  if isinstance(holder, schema.Spec):
    factory = registry.get_factory(holder.kind, node['type'])
    defaults = {
      name: parameter.default
      for name, parameter in inspect.signature(factory).parameters.items()
    }
    names = registry.get_field_names(factory)
  else:
    defaults = {f.name: f.default for f in dataclasses.fields(holder)}
    names = list(defaults)
  for name in names:
    hint = parse.get_hint(holder, node, name, 'config')
    inner, value = parse.get_holder(hint), node.get(name)
    if inner is None:
      yield f'{prefix}{name}', hint, value, defaults[name]
    elif isinstance(inner, schema.Spec) and value is None:
      continue
    else:
      yield from walk(inner, value or {}, f'{prefix}{name}.')


@pytest.mark.parametrize('name', NAMES)
def test_every_field_is_set_from_the_command_line(name):
  """Whether the config states it or not, to the value that it has."""
  config = load(name)
  cls = config_lib.get_config_class(config)
  seen = 0
  for path, _, value, default in walk(cls, config):
    value = default if value is None else value
    if value is dataclasses.MISSING or value is inspect.Parameter.empty:
      continue
    if callable(value):  # an initializer or a dtype, given by name
      continue
    changed = common.merge(config, {})
    config_lib.override(changed, path, str(value))
    found = changed
    for part in path.split('.'):
      found = found[part]
    assert found == value, path
    seen += 1
  assert seen > 50


ELEVEN = {
  'optim.accumulate': '2',
  'optim.only': "('decoder',)",
  'optim.eps': '1e-6',
  'optim.final_scale': '0.1',
  'model.dtype': 'bfloat16',
  'model.quantizer.kmeans_iterations': '3',
  'train.keep': '5',
  'data.max_unreadable': '7',
  'adversary.r1': '10',
  'adversary.optim.b1': '0.5',
  'loss.classifier': '0.1',
}


def test_fields_that_a_config_does_not_state_reach_the_training():
  config = load('vqgan_f16_1024_imagenet256')
  for key, text in ELEVEN.items():
    config_lib.override(config, key, text)
  found = config_lib.parse_config(config)
  assert found.optim.accumulate == 2 and found.optim.only == ('decoder',)
  assert found.adversary.r1 == 10 and found.adversary.optim.b1 == 0.5
  assert found.adversary.optim.fill(found.optim).b1 == 0.5
  model = registry.build('autoencoder', found.model)
  assert model.quantizer.kmeans_iterations == 3
  assert model.encoder.dtype == np.dtype('bfloat16')


@pytest.mark.parametrize('name', NAMES)
def test_fields_of_modules_are_read_by_their_code(name):
  """A field of a spec must stand in the code of the class that it builds."""
  config = load(name)
  hint = fields_lib.type_hints(config_lib.get_config_class(config))['model']
  kind = typing.get_args(hint)[1].kind
  for part, spec in specs(kind, config['model']):
    source = get_source(registry.REGISTRY[part][spec['type']])
    for field in spec:
      if field not in ('type', *registry.REGISTRY):
        assert field in source, f'{spec["type"]} never reads {field}'


def specs(kind, spec):
  yield kind, spec
  for field, value in spec.items():
    if field in registry.REGISTRY and field != 'type':
      yield from specs(field, value)


def get_source(factory) -> set[str]:
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


@pytest.mark.parametrize('name', NAMES)
def test_a_config_imports_only_configs_and_names_a_command(name):
  tree = ast.parse((CONFIGS / f'{name}.py').read_text())
  modules = {
    node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
    for node in ast.walk(tree)
    if isinstance(node, ast.Import | ast.ImportFrom)
  }
  assert modules == {'configs'}
  assert f'configs/{name}.py' in ast.get_docstring(tree)


def test_common_needs_only_the_standard_library():
  tree = ast.parse((CONFIGS / 'common.py').read_text())
  imports = (ast.Import, ast.ImportFrom)
  assert not [node for node in ast.walk(tree) if isinstance(node, imports)]


def test_the_configs_are_short():
  lines = {n: len((CONFIGS / f'{n}.py').read_text().split('\n')) for n in NAMES}
  assert sum(lines.values()) <= 45 * len(lines) and max(lines.values()) <= 90


@pytest.mark.parametrize('name', NAMES)
def test_unknown_variant_is_refused(name):
  with pytest.raises(ValueError, match='no variant .*smoke'):
    load(name, 'smokey')


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
def test_unknown_keys_fail_before_files_are_written(section, key, tmp_path):
  config = common.merge(load('quickstart_tokenizer'), {section: {key: 1}})
  with pytest.raises(ValueError, match=f"{key}'.*Valid: "):
    loop.train(config, tmp_path / 'run')
  run = tmp_path / 'run'
  assert not run.exists() or {p.name for p in run.iterdir()} <= {'.lock'}


def test_overrides_of_one_config_leave_the_others_alone():
  path = f'{CONFIGS / "vqvae_cifar10"}.py:smoke'
  config_lib.load_config(path, [('train.total_steps', '99')])
  config_lib.load_config(path, [('data.batch_size', '99')])
  for name in ('vqvae_cifar10', 'lfq_cifar10'):
    config = load(name, 'smoke')
    assert config['train']['total_steps'] == 4
    assert config['data']['batch_size'] == 8


def test_unknown_task_and_top_level_key_are_named(tmp_path):
  config = load('quickstart_tokenizer')
  with pytest.raises(ValueError, match="Did you mean 'autoencoder'"):
    loop.train({**config, 'task': 'autoencode'}, tmp_path)
  with pytest.raises(ValueError, match="Did you mean 'seed'"):
    loop.train({**config, 'sede': 1}, tmp_path)


def test_missing_files_are_named_with_those_there_are():
  with pytest.raises(schema.ConfigError, match='quickstart_maskgit.py'):
    config_lib.load_config(str(CONFIGS / 'quickstar.py'))


def test_differences_leave_out_what_is_free_to_change():
  old = {'data': {'workers': 0, 'batch_size': 2}, 'parallel': {'mode': 'jit'}}
  new = {'data': {'workers': 4, 'batch_size': 2}, 'parallel': {'mode': 'pmap'}}
  assert run_folder.get_differences(old, new) == []
  assert run_folder.get_changes(old, new) == {
    'data.workers': [0, 4],
    'parallel.mode': ['jit', 'pmap'],
  }
  new['data']['batch_size'] = 3
  assert run_folder.get_differences(old, new) == [
    '  data.batch_size: 2 there, 3 here'
  ]


@pytest.mark.parametrize(
  ('name', 'spread'),
  [
    ('maskgit_tokenizer_imagenet256', np.sqrt(1 / 1024)),
    ('vqgan_f16_1024_imagenet256', 1 / 1024 / np.sqrt(3)),
    ('vqgan_f16_16384_imagenet256', 1 / 16384 / np.sqrt(3)),
    ('llamagen_vq16_imagenet256', np.sqrt(1 / 8)),
    ('vit_vqgan_base_imagenet256', 1.0),
    ('vqvae_cifar10', np.sqrt(1 / 64)),
  ],
)
def test_codebooks_begin_as_published(name, spread):
  spec = load(name)['model']
  quantizer = registry.build('quantizer', spec['quantizer'])
  table = quantizer.codebook_init(
    jax.random.key(0), (quantizer.codebook_size, quantizer.code_dim)
  )
  np.testing.assert_allclose(table.std(), spread, rtol=0.02)
