"""Finetuning to other classes keeps the weights of the codes."""

import copy
import dataclasses
import shutil

import numpy as np
import pytest

import vq_jax
from tests.convert.released import GOLDEN
from tests.train import tiny_configs
from train import loop
from vq_jax import convert
from vq_jax.layers import stacked_parameters
from vq_jax.runs import export as export_lib
from vq_jax.utils import trees

MODELS = {
  kind: {
    'type': kind,
    'transformer': {
      'layers': 1,
      'width': 16,
      'heads': 2,
      'mlp_width': 32,
      'dropout': 0.0,
    },
  }
  for kind in ('maskgit', 'autoregressive')
}


def finetuning(source, init_from, model, autoencoder, **loss):
  """A config that changes nothing: its learning rate is 0."""
  config = tiny_configs.prior(source, str(autoencoder), total_steps=2)
  config.update(
    task=model['type'],
    model=model,
    init_from=str(init_from),
    loss=loss,
    sampler={},
  )
  config['optim'].update(learning_rate=0.0, ema_decay=None)
  return config


def parameters(model):
  return trees.flatten(model.variables['prior']['params'])


@pytest.mark.parametrize('kind', MODELS)
def test_only_the_rows_of_the_classes_are_new(
  kind, source, tokenizer, tmp_path
):
  first = tiny_configs.prior(source, tokenizer, total_steps=2)
  first.update(
    task=kind, model=MODELS[kind], loss={'label_drop': 0.0}, sampler={}
  )
  loop.train(first, tmp_path / 'first')
  (tmp_path / 'other').mkdir()
  two = tiny_configs.write_images(tmp_path / 'other', classes=2)
  model = copy.deepcopy(MODELS[kind])
  model['transformer']['scan'] = kind != 'maskgit'  # the first run has a scan
  config = finetuning(two, tmp_path / 'first', model, tokenizer, label_drop=0.5)
  loop.train(config, tmp_path / 'second')
  old, new = (vq_jax.load(tmp_path / name) for name in ('first', 'second'))
  assert (old.vocab.num_labels, new.vocab.num_labels) == (3, 3)
  assert new.vocab.null_class
  params = new.variables['prior']['params']
  before = trees.flatten(
    stacked_parameters.arrange_like(old.variables['prior']['params'], params)
  )
  after = trees.flatten(params)
  assert before.keys() == after.keys()
  tables = {name for name in after if name in new.prior.id_tables}
  assert len(tables) == len(new.prior.id_tables)
  k = new.vocab.codebook_size
  for name, x in after.items():
    if name not in tables:
      np.testing.assert_array_equal(x, before[name], err_msg=name)
      continue
    np.testing.assert_array_equal(x[:k], before[name][:k])
    end = new.vocab.num_known
    np.testing.assert_array_equal(x[end:], before[name][end:])
  table = 'embedding/embedding'
  assert not (after[table][k : k + 3] == before[table][k : k + 3]).any()


@pytest.mark.parametrize('classes', [1, 2])
def test_a_released_maskgit_is_finetuned_on_other_classes(classes, tmp_path):
  released = convert.load(
    'maskgit',
    tokenizer=GOLDEN / 'maskgit_tokenizer_toy.msgpack',
    transformer=GOLDEN / 'maskgit_transformer_toy.msgpack',
  )
  export_lib.export(released, tmp_path / 'released')
  source = tiny_configs.write_images(
    tmp_path, size=24, channels=3, classes=classes
  )
  config = finetuning(
    source,
    tmp_path / 'released',
    dict(released.config['model']),
    tmp_path / 'released' / 'autoencoder',
    label_drop=0.1,
  )
  config['optim']['learning_rate'] = 1e-3
  loop.train(config, tmp_path / 'tuned')
  tuned = vq_jax.load(tmp_path / 'tuned')
  sampler = dataclasses.replace(tuned.info.sampler, steps=2, guidance=1.0)
  result = tuned.generate(0, labels=[0, classes - 1], sampler=sampler)
  assert result.shape == (2, 24, 24, 3)
  codes = parameters(tuned)['embedding/embedding'][:64]
  given = parameters(released)['embedding/embedding'][:64]
  moved = np.abs(codes - given)
  assert 0 < moved.max() < 0.1

  deeper = copy.deepcopy(config)
  deeper['model']['transformer']['layers'] = 2
  with pytest.raises(ValueError, match='params/stack/blocks'):
    loop.train(deeper, tmp_path / 'other')

  shutil.rmtree(tmp_path / 'released')  # what has begun needs it no longer
  loop.train(config, tmp_path / 'tuned')
