"""Laws of specs: each builds its module, or the error names the mistake."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import pytest

from vq_jax import autoencoders
from vq_jax import discriminators
from vq_jax import priors
from vq_jax import quantizers
from vq_jax.config import registry
from vq_jax.layers import initializers
from vq_jax.priors import maskgit
from vq_jax.samplers import guidance
from vq_jax.samplers import orders
from vq_jax.samplers import schedules

QUANTIZER = {'type': 'vq', 'codebook_size': 8, 'code_dim': 4}
BACKBONES = {
  'encoder': {'type': 'conv_encoder', 'channels': 8},
  'decoder': {'type': 'conv_decoder', 'channels': 8},
}
VOCAB = priors.Vocab(codebook_size=8)

# What a type cannot do without: fields of the spec, and extra ones.
NEEDED = {
  'vqvae': ({'quantizer': QUANTIZER, **BACKBONES}, {}),
  'ae': ({'latent_dim': 3, **BACKBONES}, {}),
  'vae': (
    {'latent_dim': 3, 'likelihood': {'type': 'bernoulli'}, **BACKBONES},
    {},
  ),
  'vqvae2': ({'quantizer': QUANTIZER}, {}),
  'llamagen_vq16': ({'quantizer': QUANTIZER}, {}),
  'maskgit_tokenizer': ({'quantizer': QUANTIZER}, {}),
  'vit_vqgan': ({'quantizer': QUANTIZER}, {}),
  'vqgan_taming': ({'quantizer': QUANTIZER}, {}),
  'vqvae_2017': ({'quantizer': QUANTIZER}, {}),
  'vqvae_sonnet': ({'quantizer': QUANTIZER}, {}),
  'vq': ({'codebook_size': 8, 'code_dim': 4}, {}),
  'ema_vq': ({'codebook_size': 8, 'code_dim': 4}, {}),
  'factorized_vq': ({'codebook_size': 8}, {}),
  'gumbel': ({'codebook_size': 8, 'code_dim': 4}, {}),
  'ibq': ({'codebook_size': 8, 'code_dim': 4}, {}),
  'simvq': ({'codebook_size': 8, 'code_dim': 4}, {}),
  'fsq': ({'levels': (3, 2)}, {}),
  'lfq': ({'bits': 3}, {}),
  'bsq': ({'bits': 3}, {}),
  'residual': ({'quantizer': QUANTIZER, 'levels': 2}, {}),
  'grouped': ({'quantizer': QUANTIZER, 'groups': 2}, {}),
  **{
    name: ({}, {'vocab': VOCAB, 'grid': (2, 2)})
    for kind in ('prior', 'critic')
    for name in registry.REGISTRY[kind]
  },
  'center_crop': ({'size': 8}, {}),
  'channels': ({'count': 3}, {}),
  'random_crop': ({'size': 8}, {}),
  'random_resize': ({'smallest': 8, 'largest': 9}, {}),
  'random_resized_crop': ({'size': 8}, {}),
  'resize': ({'size': 8}, {}),
}
TYPES = [
  (kind, name) for kind, table in registry.REGISTRY.items() for name in table
]
each = pytest.mark.parametrize(('kind', 'name'), TYPES)


@each
def test_every_type_builds_and_keeps_its_fields(kind, name):
  fields, extra = NEEDED.get(name, ({}, {}))
  built = registry.build(kind, {'type': name, **fields}, **extra)
  factory = registry.REGISTRY[kind][name]
  if isinstance(factory, type):
    assert isinstance(built, factory)
  for field, value in {**fields, **extra}.items():
    if not isinstance(value, dict):
      assert getattr(built, field) == value
  assert built == registry.build(kind, {'type': name, **fields}, **extra)


@each
def test_every_needed_field_is_asked_for(kind, name):
  fields, extra = NEEDED.get(name, ({}, {}))
  for field in fields:
    rest = {f: v for f, v in fields.items() if f != field}
    with pytest.raises(
      registry.SpecError, match=rf'needs the field.* {field}\b'
    ):
      registry.build(kind, {'type': name, **rest}, **extra)


@each
def test_every_unknown_field_is_named(kind, name):
  fields, extra = NEEDED.get(name, ({}, {}))
  with pytest.raises(registry.SpecError, match="'nonsense'") as error:
    registry.build(kind, {'type': name, **fields, 'nonsense': 1}, **extra)
  message = str(error.value)
  assert repr(name) in message
  assert 'Did you mean' not in message
  for field in fields:
    assert field in message.split('Valid: ')[1]


@pytest.mark.parametrize('kind', registry.REGISTRY)
def test_unknown_and_missing_types_list_the_valid_ones(kind):
  valid = ', '.join(sorted(registry.REGISTRY[kind]))
  with pytest.raises(registry.SpecError) as error:
    registry.build(kind, {'type': 'nonsense'})
  assert f"unknown {kind} type 'nonsense'" in str(error.value)
  assert f'Valid: {valid}.' in str(error.value)
  with pytest.raises(
    registry.SpecError, match=f"the {kind} spec has no 'type'"
  ):
    registry.build(kind, {'size': 3})


@pytest.mark.parametrize(
  ('spec', 'close'),
  [
    ({'type': 'ema_vqq'}, 'ema_vq'),
    ({**QUANTIZER, 'codebok_size': 8}, 'codebook_size'),
    ({**QUANTIZER, 'code_dims': 4}, 'code_dim'),
  ],
)
def test_the_close_name_is_suggested(spec, close):
  with pytest.raises(registry.SpecError, match=f"Did you mean '{close}'"):
    registry.build('quantizer', spec)


def test_specs_are_nested():
  model = registry.build(
    'autoencoder', {'type': 'vqvae', 'quantizer': QUANTIZER, **BACKBONES}
  )
  assert model == autoencoders.VQVAE(
    encoder=autoencoders.ConvEncoder(channels=8),
    quantizer=quantizers.VectorQuantizer(codebook_size=8, code_dim=4),
    decoder=autoencoders.ConvDecoder(channels=8),
  )
  wrong = {**BACKBONES['encoder'], 'chanels': 8}
  with pytest.raises(
    registry.SpecError, match="field of encoder 'conv_encoder'"
  ):
    registry.build(
      'autoencoder',
      {'type': 'vqvae', 'quantizer': QUANTIZER, **BACKBONES, 'encoder': wrong},
    )


def test_a_spec_is_left_as_it_was():
  spec = {'type': 'vqvae', 'quantizer': QUANTIZER, **BACKBONES}
  before = {name: dict(v) if name != 'type' else v for name, v in spec.items()}
  registry.build('autoencoder', spec)
  assert spec == before


@pytest.mark.parametrize('field', ['dtype', 'param_dtype'])
def test_names_of_dtypes_become_dtypes(field):
  encoder = registry.build(
    'encoder', {'type': 'conv_encoder', field: 'bfloat16'}
  )
  assert getattr(encoder, field) == jnp.bfloat16
  assert not isinstance(getattr(encoder, field), str)


def test_names_of_initializers_become_initializers():
  built = registry.build('quantizer', {**QUANTIZER, 'codebook_init': 'taming'})
  assert built.codebook_init is initializers.taming
  own = initializers.normal
  built = registry.build('quantizer', {**QUANTIZER, 'codebook_init': own})
  assert built.codebook_init is own


@pytest.mark.parametrize('name', ['uniform', 3, None])
def test_an_unknown_initializer_is_named(name):
  with pytest.raises(registry.SpecError) as error:
    registry.build('quantizer', {**QUANTIZER, 'codebook_init': name})
  valid = ', '.join(sorted(registry.INITIALIZERS))
  assert f'unknown codebook_init {name!r}.' in str(error.value)
  assert f'Valid: {valid}.' in str(error.value)


def test_lists_become_tuples():
  """A module must be hashable to be static under jit; JSON has lists only."""
  spec = {'type': 'vqvae', 'quantizer': QUANTIZER, **BACKBONES}
  model = registry.build('autoencoder', {**spec, 'value_range': [-0.5, 0.5]})
  assert model.value_range == (-0.5, 0.5)
  assert isinstance(model.value_range, tuple)
  hash(model)
  crop = registry.build(
    'preprocessing',
    {'type': 'random_resized_crop', 'size': 8, 'scale': [0.5, 1]},
  )
  assert crop.scale == (0.5, 1)


@pytest.mark.parametrize('field', ['axis_name', 'parent', 'name'])
def test_a_spec_cannot_set_axis_name_parent_or_name(field):
  with pytest.raises(registry.SpecError, match=f"'{field}'") as error:
    registry.build('quantizer', {**QUANTIZER, field: 'batch'})
  assert field not in str(error.value).split('Valid: ')[1].split(', ')


def test_extra_fields_cannot_come_from_the_spec():
  with pytest.raises(registry.SpecError, match="'grid'"):
    registry.build(
      'prior', {'type': 'maskgit', 'grid': (3, 3)}, vocab=VOCAB, grid=(2, 2)
    )


def test_sequences_of_preprocessing():
  steps = registry.preprocess(
    [{'type': 'resize', 'size': 8}, {'type': 'random_flip'}]
  )
  assert isinstance(steps, tuple)
  assert [type(s).__name__ for s in steps] == ['Resize', 'RandomFlip']
  with pytest.raises(registry.SpecError, match="Did you mean 'resize'"):
    registry.preprocess([{'type': 'resise', 'size': 8}])


@pytest.mark.parametrize(
  'table',
  [
    registry.ADVERSARIAL_LOSSES,
    schedules.SCHEDULES,
    guidance.SCHEDULES,
    orders.ORDERS,
  ],
)
def test_strategies_are_found_by_their_own_names(table):
  for name, strategy in table.items():
    assert registry.lookup(table, name, 'schedule') is strategy
    assert strategy.__name__.lower() == name.replace('_', '')
  with pytest.raises(registry.SpecError, match="unknown schedule 'consine'"):
    registry.lookup(table, 'consine', 'schedule')


def test_each_public_module_of_a_package_can_be_built():
  """Each public class must have a name that configs can use."""
  kinds = ('autoencoder', 'encoder', 'decoder', 'likelihood')
  rooms = {autoencoders: kinds}
  rooms |= {quantizers: ('quantizer',), priors: ('prior', 'critic')}
  rooms |= {discriminators: ('discriminator',)}
  for room, kinds in rooms.items():
    known = [f for kind in kinds for f in registry.REGISTRY[kind].values()]
    for name in room.__all__:
      value = getattr(room, name)
      if isinstance(value, type) and value.__module__.split('.')[-1] != 'base':
        assert not issubclass(value, nn.Module) or value in known, name


def test_a_config_changes_only_what_it_names():
  spec = {
    'type': 'maskgit',
    'transformer': {'layers': 2, 'dtype': 'bfloat16', 'kernel_init': 'gpt'},
  }
  prior = registry.build('prior', spec, vocab=VOCAB, grid=(2, 2))
  assert prior.transformer == dataclasses.replace(
    maskgit.PUBLISHED,
    layers=2,
    dtype=jnp.dtype('bfloat16'),
    kernel_init=initializers.gpt,
  )
  model = registry.build(
    'autoencoder',
    {
      'type': 'vit_vqgan',
      'decoder_size': 'base',
      'transformer': {'layers': 1},
      'quantizer': QUANTIZER,
    },
  )
  configs = [side.transformer for side in (model.encoder, model.decoder)]
  assert [(c.layers, c.width) for c in configs] == [(1, 512), (1, 768)]


@pytest.mark.parametrize(
  ('transformer', 'message'),
  [
    ({'layers': -1}, 'model.transformer.layers must be a whole number of at'),
    ({'layrs': 1}, "unknown field of model.transformer 'layrs'.*'layers'"),
    ({'kernel_init': 'x'}, "unknown kernel_init 'x'"),
    (3, 'model.transformer must be a mapping of fields of Transformer'),
  ],
)
def test_wrong_values_of_a_config_are_named(transformer, message):
  for kind, spec, extra in (
    ('prior', {'type': 'maskgit'}, {'vocab': VOCAB, 'grid': (2, 2)}),
    ('autoencoder', {'type': 'vit_vqgan', 'quantizer': QUANTIZER}, {}),
  ):
    with pytest.raises(registry.SpecError, match=message):
      registry.build(kind, {**spec, 'transformer': transformer}, **extra)
