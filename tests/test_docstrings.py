"""The examples in docstrings run and print the documented output."""

import doctest
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MODULES = [
  '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix(
    '.__init__'
  )
  for folder in ('vq_jax', 'train')
  for path in sorted((ROOT / folder).rglob('*.py'))
  if '>>> ' in path.read_text()
]


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
  found = doctest.testmod(
    importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
  )
  assert found.attempted and not found.failed
