"""Configs: from mappings to dataclasses, and every field set by its path."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import flax.linen as nn
import pytest

from configs import common
from vq_jax import quantizers
from vq_jax.config import parse
from vq_jax.config import registry
from vq_jax.config import schema
from vq_jax.config.schema import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversary(schema.SubConfig):
  discriminator: Annotated[Mapping, schema.Spec('discriminator')]
  weight: float = 0.1
  start: schema.Duration = schema.NO_STEPS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(schema.Config):
  adversary: Adversary | None = None


class HalvingQuantizer(nn.Module):
  """A quantizer that the registry does not list."""

  code_dim: int
  steps: int = 3


def config(**changes) -> dict:
  return common.merge(
    {
      'task': 'autoencoder',
      'data': {'source': 'tfds:cifar10'},
      'model': {
        'type': 'vqvae',
        'encoder': {'type': 'patch_encoder'},
        'quantizer': {'type': 'ema_vq', 'codebook_size': 8, 'code_dim': 4},
        'decoder': {'type': 'patch_decoder', 'out_channels': 3},
      },
      'optim': {'learning_rate': 1e-3},
      'train': {'total_steps': 10},
    },
    changes,
  )


def get(node, key):
  for part in key.split('.'):
    node = node[part]
  return node


def overridden(key: str, text: str, **changes):
  changed = config(**changes)
  parse.override(Config, changed, key, text)
  return changed


def test_left_out_fields_have_their_defaults():
  found = parse.from_dict(Config, config(), 'config')
  assert found.optim == schema.OptimConfig(learning_rate=1e-3)
  assert found.parallel == schema.ParallelConfig()
  assert found.train.log_every == schema.Duration(steps=100)
  assert found.adversary is None


def test_a_config_equals_what_json_gives_back():
  first = parse.from_dict(
    Config,
    config(
      data={'train_preprocess': [{'type': 'resize', 'size': 8}]},
      optim={'only': ['decoder'], 'clip_norm': 1, 'warmup': {'epochs': 2}},
      adversary={'discriminator': {'type': 'patchgan'}},
    ),
    'config',
  )
  assert parse.from_dict(Config, parse.to_dict(first), 'config') == first
  assert type(first.optim.clip_norm) is float


@pytest.mark.parametrize(
  ('key', 'text', 'value'),
  [
    ('optim.learning_rate', '1e-4', 1e-4),
    ('optim.learning_rate', '1', 1.0),
    ('optim.accumulate', '4', 4),
    ('optim.eps', '1e-6', 1e-6),
    ('optim.only', "('decoder',)", ('decoder',)),
    ('optim.only', "['decoder']", ('decoder',)),
    ('optim.final_scale', '0.1', 0.1),
    ('optim.clip_norm', 'None', None),
    ('optim.warmup.epochs', '2', 2.0),
    ('optim.warmup', "{'epochs': 2}", {'epochs': 2}),
    ('train.keep', '5', 5),
    ('train.total_epochs', '3', 3.0),
    ('data.max_unreadable', '3', 3),
    ('data.in_memory', 'false', False),
    ('data.source', 'folder:a b', 'folder:a b'),
    ('data.data_dir', 'None', None),
    ('data.data_dir', '12', '12'),
    ('parallel.mode', 'pmap', 'pmap'),
    ('seed', '3', 3),
    ('init_from', 'runs/x', 'runs/x'),
    ('model.type', 'vqvae', 'vqvae'),
    ('model.quantizer.kmeans_iterations', '3', 3),
    ('model.quantizer.codebook_init', 'taming', 'taming'),
    ('model.encoder.dtype', 'bfloat16', 'bfloat16'),
    ('model.value_range', '(0, 1)', (0, 1)),
    ('model.likelihood', "{'type': 'bernoulli'}", {'type': 'bernoulli'}),
    ('adversary.weight', '0.5', 0.5),
    ('adversary', 'None', None),
  ],
)
def test_any_field_is_set_whether_the_config_states_it_or_not(key, text, value):
  found = get(overridden(key, text), key)
  assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
  ('key', 'text', 'message'),
  [
    ('optim.lerning_rate', '1', "config.optim 'lerning_rate'. Did you mean"),
    ('optm.b2', '1', "unknown key of config 'optm'. Did you mean 'optim'"),
    ('optim.b2.x', '1', "config.optim.b2 is a value, which has no key 'x'"),
    (
      'data.batch_size',
      'many',
      'batch_size must be a whole number of at least',
    ),
    ('data.batch_size', '1.5', 'config.data.batch_size must be a whole number'),
    ('optim.b2', '1', r'config.optim.b2 must be .*\[0, 0.999999999\]; got 1.0'),
    ('optim.schedule', 'cosin', "must be 'constant' or 'cosine' or 'linear'"),
    (
      'train.log_every',
      '3',
      'config.train.log_every must be a mapping of steps',
    ),
    ('train.log_every.step', '3', "Did you mean 'steps'"),
    ('model.quantizer.decya', '1', "config.model.quantizer 'decya'.*'decay'"),
    ('model.encodr.channels', '1', "config.model 'encodr'. Did you mean"),
    ('model.likelihood.components', '3', 'likelihood names no type.*mixture'),
    ('model', '3', "config.model must be a mapping with the key 'type'"),
    ('model.quantizer.type.x', '3', 'is a value, which has no key'),
  ],
)
def test_what_cannot_be_set_is_named(key, text, message):
  with pytest.raises(ValueError, match=message):
    overridden(key, text)


@pytest.mark.parametrize(
  ('name', 'text', 'value'),
  [
    ('layers', '3', 3),
    ('kernel_init', 'gpt', 'gpt'),
    ('remat', 'true', True),
    ('remat', 'dots_saveable', 'dots_saveable'),
  ],
)
def test_a_config_within_a_spec_is_set_by_its_path(name, text, value):
  key = f'model.transformer.{name}'
  found = overridden(key, text, model={'type': 'vit_vqgan'})
  assert found['model']['transformer'] == {name: value}
  with pytest.raises(ValueError, match="'layrs'. Did you mean 'layers'"):
    overridden('model.transformer.layrs', '3', model={'type': 'vit_vqgan'})


def test_a_value_in_place_of_a_mapping_is_named():
  changed = {**config(), 'optim': 3}
  with pytest.raises(ConfigError, match=r'config.optim must be a mapping.*b1'):
    parse.override(Config, changed, 'optim.b1', '0.5')


def test_a_new_unit_replaces_the_old_one():
  found = overridden(
    'train.log_every.percent', '2', train={'log_every': {'steps': 3}}
  )
  assert found['train']['log_every'] == {'percent': 2.0}
  found = overridden('train.total_epochs', '2')
  assert found['train'] == {'total_epochs': 2.0}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'sede': 1}, "unknown key of config 'sede'. Did you mean 'seed'"),
    (
      {'data': {'batchsize': 1}},
      "key of config.data 'batchsize'. Did you mean",
    ),
    (
      {'optim': {'warmup': 3}},
      'config.optim.warmup must be a mapping of steps',
    ),
    ({'optim': {'warmup': {}}}, 'a duration is one of'),
    ({'optim': {'warmup': {'steps': 1, 'epochs': 1}}}, 'a duration is one of'),
    ({'optim': {'warmup': {'steps': -1}}}, 'steps must be a whole number'),
    ({'train': {'total_epochs': 2}}, 'one of total_steps and total_epochs'),
    (
      {'train': {'eval_every': {'steps': 0}}},
      'eval_every must be longer than 0',
    ),
    ({'data': 3}, 'config.data must be a mapping of source, '),
    ({'adversary': {}}, "config.adversary needs the key 'discriminator'"),
    ({'model': 'vqvae'}, 'config.model must be a mapping'),
    ({'data': {'channels': 2}}, 'config.data.channels must be 1 or 3 or None'),
  ],
)
def test_wrong_configs_are_named(changes, message):
  with pytest.raises(ConfigError, match=message):
    parse.from_dict(Config, config(**changes), 'config')


def test_durations_in_steps():
  def steps(total=200, **given):
    duration = schema.Duration(**given)
    return duration.to_steps(steps_per_epoch=12.5, total=total)

  assert steps(steps=7) == 7
  assert steps(epochs=2) == 25
  assert steps(percent=25) == 50
  train = schema.TrainConfig(total_epochs=2)
  assert train.get_total_steps(steps_per_epoch=12.5) == 25


def test_a_spec_of_another_type_replaces_the_first():
  base = {'quantizer': {'type': 'fsq', 'levels': (3, 3)}, 'stride': 2}
  assert common.merge(base, {'quantizer': {'levels': (5,)}}) == {
    'quantizer': {'type': 'fsq', 'levels': (5,)},
    'stride': 2,
  }
  other = {'type': 'vq', 'codebook_size': 8}
  assert common.merge(base, {'quantizer': other})['quantizer'] == other


def test_a_class_of_ones_own_is_named_by_its_path():
  name = f'{__name__}:HalvingQuantizer'
  found = registry.build('quantizer', {'type': name, 'code_dim': 4})
  assert isinstance(found, HalvingQuantizer) and found.steps == 3
  changed = overridden(
    'model.quantizer.steps', '5', model={'quantizer': {'type': name}}
  )
  assert changed['model']['quantizer']['steps'] == 5
  with pytest.raises(ValueError, match="unknown field of quantizer .*'step'"):
    registry.build('quantizer', {'type': name, 'code_dim': 4, 'step': 1})


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('nowhere.at_all:Thing', "'nowhere.at_all:Thing' cannot be imported"),
    ('vq_jax.quantizers:Thing', 'cannot be imported.*Thing'),
    (':Thing', 'cannot be imported'),
    (3, 'unknown quantizer type 3'),
  ],
)
def test_a_wrong_path_is_named(name, message):
  with pytest.raises(registry.SpecError, match=message):
    registry.build('quantizer', {'type': name})
  assert quantizers.FSQ is registry.get_factory('quantizer', 'fsq')
