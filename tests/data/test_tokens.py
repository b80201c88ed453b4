"""Tokens on disk: full disks, damage, images that cannot be read, splits."""

import dataclasses
import hashlib
import resource

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

import vq_jax
from vq_jax import data
from vq_jax.cli import main as cli
from vq_jax.data import tokens as tokens_lib
from vq_jax.workflows import probe
from vq_jax.workflows import tokenize

OPTIONS = {'shard_size': 20, 'batch_size': 16}
SPLITS = {'train': 'train', 'held_out': 'train[:20]'}


@pytest.fixture(scope='module')
def model(tokenizer):
  return vq_jax.load(tokenizer)


@pytest.fixture
def written(model, source, tmp_path):
  folder = tmp_path / 'tokens'
  tokenize.tokenize(model, folder, source=source, splits=SPLITS, **OPTIONS)
  return folder


def test_a_full_disk_leaves_no_partial_shard(model, written, tmp_path):
  features = tokens_lib.make_features(tokens_lib.read_record(written))
  example = dict(tokens=np.zeros((4, 4), np.int32), label=0, index=0)
  path, before = tmp_path / 'shard', resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
  try:
    with pytest.raises(data.DataError, match='cannot be written: .* kept'):
      tokens_lib.write_shard(path, features, [{**example, 'pass': 0}] * 500)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
  assert [p.name for p in tmp_path.iterdir()] == ['tokens']


@pytest.mark.parametrize('content', [None, b'', b'no shard' * 99])
def test_damage_is_named_and_mended(content, model, source, written):
  before = data.open_source(f'tokens:{written}').batch(np.arange(48))
  shard = next(written.glob('tokens-train*-00001-of-*'))
  shard.unlink()
  if content is not None:
    shard.write_bytes(content)
  with pytest.raises(data.DataError, match='are damaged: .*makes what is miss'):
    data.open_source(f'tokens:{written}')
  if content is not None:
    with pytest.raises(data.DataError, match='are damaged: '):
      tokenize.tokenize(model, written, source=source, splits=SPLITS, **OPTIONS)
  shard.unlink(missing_ok=True)
  (written / '.tokens-train.array_record-00001-of-00003.99').write_bytes(
    b'half'
  )
  tokenize.tokenize(model, written, source=source, splits=SPLITS, **OPTIONS)
  after = data.open_source(f'tokens:{written}').batch(np.arange(48))
  np.testing.assert_array_equal(before['tokens'], after['tokens'])
  assert not list(written.glob('.*'))  # what a killed process left is gone


def test_images_that_cannot_be_read_are_left_out(model, source, tmp_path):
  """Also if all images of a shard are unreadable."""
  images = np.load(source.removeprefix('npz:'))['images']
  (tmp_path / 'images').mkdir()
  names = [f'{i}.png' for i in range(9)]
  names.sort(key=lambda name: hashlib.sha1(name.encode()).digest())
  for i, name in enumerate(names):  # in the order of a folder
    path = tmp_path / 'images' / name
    PIL.Image.fromarray(images[i, :, :, 0]).save(path)
    if i in (1, 8):
      path.write_bytes(b'')
  with pytest.warns(data.UnreadableImageWarning, match=names[8]):
    counts = tokenize.tokenize(
      model,
      tmp_path / 'tokens',
      source=f'folder:{tmp_path / "images"}',
      shard_size=4,
      batch_size=3,
    )
  assert counts == {'train': 7}
  builder = tfds.builder_from_directory(str(tmp_path / 'tokens'))
  kept = [0, 2, 3, 4, 5, 6, 7]
  assert [r['index'] for r in builder.as_data_source('train')] == kept
  found = data.open_source(f'tokens:{tmp_path / "tokens"}').batch(np.arange(7))
  np.testing.assert_array_equal(found['tokens'], model.encode(images[kept]))


def with_training(model, *preprocess):
  facts = dataclasses.replace(model.info.data, preprocess=preprocess)
  info = dataclasses.replace(model.info, data=facts)
  return dataclasses.replace(model, info=info)


def test_only_the_training_split_gets_further_passes(model, source, tmp_path):
  flipping = with_training(model, data.RandomFlip())
  for _ in range(2):  # the second finds its own beginning, tuples or not
    counts = tokenize.tokenize(
      flipping,
      tmp_path / 'a',
      source=source,
      splits=SPLITS,
      passes=2,
      **OPTIONS,
    )
    assert counts == {'train': 96, 'held_out': 20}
  with pytest.raises(ValueError, match='made of the split train, .* test'):
    tokenize.tokenize(
      flipping,
      tmp_path / 'b',
      source=source,
      splits={'test': 'train'},
      passes=2,
    )
  flipping = with_training(model, data.RandomFlip(), data.RandomFlip())
  with pytest.raises(data.DataError, match='differ in preprocess: ') as error:
    tokenize.tokenize(
      flipping,
      tmp_path / 'a',
      source=source,
      splits=SPLITS,
      passes=2,
      **OPTIONS,
    )
  assert '\n' not in str(error.value)


def test_parts_of_splits_are_those_of_every_source(written, monkeypatch):
  whole = data.open_source(f'tokens:{written}').batch(np.arange(48))['tokens']
  monkeypatch.setattr(tokens_lib, '_CHUNK', 7)
  for limit in (tokens_lib.LIMIT, 0):
    monkeypatch.setattr(tokens_lib, 'LIMIT', limit)
    part = data.open_source(f'tokens:{written}', 'train[25%:90%]')
    assert len(part) == 43 - 12
    got = part.batch(np.arange(len(part)))['tokens']
    np.testing.assert_array_equal(got, whole[12:43])
  with pytest.raises(data.DataError, match='must lie within the 48 examples'):
    data.open_source(f'tokens:{written}', 'train[100:]')
  with pytest.raises(data.DataError, match="no split 'test'"):
    data.open_source(f'tokens:{written}', 'test')


def test_tokens_cannot_be_encoded_or_probed(model, written, tmp_path):
  own = f'tokens:{written}'
  with pytest.raises(data.DataError, match='images are needed; .*npz:'):
    tokenize.tokenize(model, tmp_path / 'more', source=own)
  with pytest.raises(data.DataError, match='images are needed; .*npz:'):
    probe.probe(model, own, test_split='held_out')


@pytest.mark.parametrize('limit', [tokens_lib.LIMIT, 0])
def test_batches_of_tokens_resume_to_the_bit(written, limit, monkeypatch):
  """From memory and from disk; `tests/train` resumes a whole training."""
  monkeypatch.setattr(tokens_lib, 'LIMIT', limit)

  def batches():
    source = data.open_source(f'tokens:{written}')
    return data.train_batches(source, batch_size=10, seed=0)

  with batches() as iterator:
    whole = [next(iterator) for _ in range(12)]
  with batches() as iterator:
    for _ in range(5):
      next(iterator)
    state = iterator.get_state()
  with batches() as iterator:
    iterator.set_state(state)
    for want in whole[5:]:
      got = next(iterator)
      assert got.keys() == want.keys() == {'tokens', 'label'}
      for name in want:
        np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize(
  ('more', 'message'),
  [
    (('--batch-size', '0'), 'batch_size must be a whole number of at least 1'),
    (
      ('--split', 'a=train[:9]', '--split', 'a=train[9:]'),
      'have another name',
    ),
    (('--passes', '0'), 'passes must be a whole number of at least 1'),
    (('--seed', '-1'), 'seed must be a whole number in [0, 4294967295]'),
  ],
)
def test_mistakes_get_one_clear_line(
  more, message, tokenizer, source, tmp_path, capsys
):
  out = tmp_path / 'tokens'
  argv = ['tokenize', tokenizer, '--data', source, '--out', str(out)]
  assert cli.main([*argv, *more]) == 1
  error = capsys.readouterr().err
  assert message in error and error.startswith('error: ')
  assert error.count('\n') == 1 and not out.exists()


@pytest.mark.parametrize(
  ('file', 'content', 'message'),
  [
    ('tokenizer.json', '[]', 'holds no tokens'),
    ('tokenizer.json', '{"complete": true}', "KeyError: 'tokens'"),
    ('dataset_info.json', '', 'is damaged: .*Copy its JSON files again'),
    ('features.json', '{}', 'is damaged'),
    ('features.json', None, 'is damaged'),
  ],
)
def test_descriptions_that_are_damaged(file, content, message, written):
  (written / file).unlink()
  if content is not None:
    (written / file).write_text(content)
  with pytest.raises(data.DataError, match=message) as error:
    data.open_source(f'tokens:{written}')
  assert '\n' not in str(error.value)
