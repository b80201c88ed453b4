"""Laws of the vocabulary."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax import priors

CASES = [
  (1, 0, False),
  (7, 0, False),
  (7, 1, True),
  (7, 3, False),
  (7, 3, True),
]
each = pytest.mark.parametrize(
  'vocab',
  [
    priors.Vocab(codebook_size=k, num_classes=n, null_class=null)
    for k, n, null in CASES
  ],
  ids=str,
)


@each
def test_every_id_means_exactly_one_thing(vocab):
  codes = list(range(vocab.codebook_size))
  labels = np.asarray(vocab.label_id(jnp.arange(vocab.num_labels))).tolist()
  ids = [*codes, *labels, vocab.mask_id]
  assert sorted(ids) == list(range(vocab.size))
  assert vocab.mask_id == vocab.size - 1


@each
def test_the_null_label_follows_the_classes(vocab):
  if vocab.null_class:
    assert vocab.null_label == vocab.num_classes == vocab.num_labels - 1
  else:
    assert vocab.num_labels == vocab.num_classes
    with pytest.raises(ValueError, match='without a null class'):
      _ = vocab.null_label


def test_the_layout_of_the_released_weights():
  vocab = priors.Vocab(codebook_size=1024, num_classes=1000)
  assert (vocab.size, vocab.mask_id) == (2025, 2024)
  np.testing.assert_array_equal(
    vocab.label_id(jnp.array([0, 999])), [1024, 2023]
  )


@pytest.mark.parametrize(
  'fields',
  [
    {'codebook_size': 0},
    {'codebook_size': 4, 'num_classes': -1},
    {'codebook_size': 4, 'null_class': True},
  ],
)
def test_impossible_vocabularies_are_refused(fields):
  with pytest.raises(ValueError, match='codebook_size|num_classes|null_class'):
    priors.Vocab(**fields)


def test_vocabularies_are_values():
  both = itertools.starmap(
    lambda k, n: priors.Vocab(codebook_size=k, num_classes=n), [(4, 2)] * 2
  )
  assert len(set(both)) == 1


@pytest.mark.parametrize('masks', [0, 1])
@each
def test_a_table_with_other_labels_keeps_codes_and_mask(vocab, masks):
  other = priors.Vocab(codebook_size=vocab.codebook_size, num_classes=5)
  ours = -jnp.arange(vocab.num_known + masks)
  theirs = 100 + jnp.arange(other.num_known + masks)
  found = vocab.take_over(other, theirs, ours).tolist()
  k = vocab.codebook_size
  assert found[:k] == theirs[:k].tolist()
  assert found[k : vocab.num_known] == ours[k : vocab.num_known].tolist()
  assert found[vocab.num_known :] == theirs[other.num_known :].tolist()
