"""A tiny data set, and a tokenizer trained on it once."""

import pytest

from tests.train import cards
from train import loop


@pytest.fixture(scope='session')
def source(tmp_path_factory) -> str:
  return cards.write_images(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='session')
def tokenizer(source, tmp_path_factory) -> str:
  folder = tmp_path_factory.mktemp('runs') / 'tokenizer'
  loop.train(cards.autoencoder(source), folder)
  return str(folder)
