"""The table of configs says what the files hold, without running them."""

import pytest

from tests.train import test_configs
from train.planning import abstract
from vq_jax.cli import main as cli
from vq_jax.config import catalog

# One of each kind that is quick to open.
COUNTED = (
  'ae_fashion',
  'folder_maskgit',
  'lfq_cifar10',
  'pixelcnn_cifar10',
  'quickstart_maskgit',
  'quickstart_tokenizer',
  'vae_fashion',
  'vit_vqgan_large_imagenet256',
  'vqvae2_imagenet256',
)


@pytest.fixture(scope='module')
def entries():
  return {e.name: e for e in catalog.read(test_configs.CONFIGS)}


def test_every_config_has_a_title_and_a_number_of_parameters(entries):
  assert list(entries) == test_configs.NAMES
  for entry in entries.values():
    assert entry.title.endswith('.') and entry.parameters


@pytest.mark.parametrize('name', COUNTED)
def test_the_number_of_parameters_is_that_of_the_training(name, entries):
  path = test_configs.CONFIGS / f'{name}.py'
  file = abstract.ConfigFile.load(str(path))
  training = abstract.open_training(file, number=1000, num_classes=10)
  assert training.num_parameters == entries[name].parameters


def test_the_table_has_a_line_for_each_config_found(entries, capsys):
  assert cli.main(['configs', 'MaskGIT']) == 0
  head, *lines = capsys.readouterr().out.splitlines()
  assert head.split() == ['config', 'parameters', 'paper', 'title']
  expected = [
    e for e in entries.values() if 'maskgit' in f'{e.name} {e.title}'.lower()
  ]
  for line, entry in zip(lines, expected, strict=True):
    assert line.split()[0] == entry.name
    assert line.endswith(entry.title)
    assert all(paper in line for paper in entry.papers)
  row = next(line for line in lines if line.startswith('maskgit_imagenet256 '))
  assert '172 M' in row and '2202.04200' in row


@pytest.mark.parametrize(
  ('number', 'text'),
  [
    (999, '999'),
    (1000, '1.00 k'),
    (77_841, '77.8 k'),
    (1_412_178_432, '1.41 G'),
  ],
)
def test_numbers_have_three_digits(number, text):
  entry = catalog.Entry(name='a', title='A.', parameters=number)
  assert f'  {text}  ' in catalog.table([entry])


def test_a_config_is_not_executed(tmp_path):
  (tmp_path / 'bomb.py').write_text('"""Title."""\nraise SystemExit\n')
  (tmp_path / 'common.py').write_text('')
  assert catalog.read(tmp_path) == [catalog.Entry(name='bomb', title='Title.')]
  (tmp_path / 'wrong.py').write_text('def')
  with pytest.raises(ValueError, match='wrong.py is not a Python file'):
    catalog.read(tmp_path)


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    (['no such config'], "contains 'no such config'"),
    (['--folder', 'nowhere'], 'in nowhere. They are part of the repository'),
  ],
)
def test_what_is_wrong_is_said_in_one_line(argv, message, capsys):
  assert cli.main(['configs', *argv]) == 1
  error = capsys.readouterr().err
  assert message in error and error.count('\n') == 1
