"""README and docs: their code runs, and their commands and links are right."""

import importlib.util
import pathlib
import re
import shlex

import jax
import numpy as np
import PIL.Image
import pytest

from train import config as config_lib
from train import main as train_main
from vq_jax.cli import main as cli

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
CONFIGS = sorted(
  path for path in (ROOT / 'configs').glob('*.py') if path.stem != 'common'
)
NAMES = [path.stem for path in CONFIGS]

# A block with a comment before it that gives a reason is not run.
BLOCK = re.compile(
  r'^(?P<skip><!-- Not run: .+ -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```',
  re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)|<img src="([^"]+)"')
CONFIG_NAME = re.compile(r'`(\w+_(?:cifar10|fashion|imagenet\d+|faces\d+))`')


def page_name(path: pathlib.Path) -> str:
  return str(path.relative_to(ROOT))


def blocks(text: str, kind: str) -> list[re.Match]:
  return [m for m in BLOCK.finditer(text) if m['kind'] == kind]


def commands(path: pathlib.Path) -> list[str]:
  """Returns the commands of a page, or of the docstring of a config file."""
  text = path.read_text()
  lines = []
  for match in blocks(text, 'bash'):
    lines += match['text'].replace('\\\n', ' ').splitlines()
  if path.suffix == '.py':
    lines += text.replace('\\\n', ' ').split('"""')[1].splitlines()
  # In a sentence, `vqjax convert` is a name.
  lines += re.findall(r'`((?:vqjax \w+|python -m [^`\s]+) [^`\n]+)`', text)
  found = [' '.join(line.split()) for line in lines]
  return [c for c in found if c.startswith(('vqjax ', 'python -m '))]


def with_python(paths: list[pathlib.Path]) -> list[pathlib.Path]:
  return [path for path in paths if blocks(path.read_text(), 'python')]


@pytest.fixture(scope='module')
def workdir(maskgit, tokenizer, vae_run, tmp_path_factory):
  """A folder with the run folders and the files that the pages name."""
  folder = tmp_path_factory.mktemp('pages')
  (folder / 'runs' / 'quickstart').mkdir(parents=True)
  for name, run in {
    'quickstart/maskgit': maskgit,
    'quickstart/tokenizer': tokenizer,
    'vae': vae_run,
  }.items():
    (folder / 'runs' / name).symlink_to(run)
  for name in ('first.png', 'last.png'):
    PIL.Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / name)
  return folder


@pytest.mark.parametrize('path', with_python(PAGES), ids=page_name)
def test_python_blocks_run(path, workdir, monkeypatch):
  monkeypatch.chdir(workdir)
  namespace = {}
  for match in blocks(path.read_text(), 'python'):
    if match['skip']:
      continue
    code = compile(match['text'], page_name(path), 'exec')
    with jax.numpy_rank_promotion('allow'):  # as it is for users
      exec(code, namespace)


def check_vqjax(argv: list[str]) -> None:
  cli.parser().parse_args(argv)


def check_training(argv: list[str]) -> None:
  arguments, overrides = train_main.parse_arguments(argv)
  config = config_lib.load_config(str(ROOT / arguments.config), overrides)
  config_lib.parse_config(config)


def check_program(module: str, argv: list[str]) -> None:
  """Checks that a program is there, and that it has the flags."""
  spec = importlib.util.find_spec(module)
  assert spec is not None, module
  if spec.submodule_search_locations:
    spec = importlib.util.find_spec(f'{module}.__main__')
  text = pathlib.Path(spec.origin).read_text()
  if 'PROGRAM = ' in text:
    parser = importlib.import_module(module).PROGRAM.make_parser()
    parser.parse_args(argv)
    return
  if 'def make_parser' in text:
    parser = importlib.import_module(module).make_parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest:
      check_training(['--config', arguments.config, '--workdir', '.', *rest])
    return
  for flag in argv:
    if flag.startswith('-'):
      assert f"'{flag}'" in text, f'{module} has no flag {flag}'


@pytest.mark.parametrize('path', [*PAGES, *CONFIGS], ids=page_name)
def test_commands_parse(path, capsys):
  for command in commands(path):
    argv = shlex.split(command, comments=True)
    try:
      if argv[0] == 'vqjax':
        check_vqjax(argv[1:])
      elif argv[2] == 'train.main':
        check_training(argv[3:])
      else:
        check_program(argv[2], argv[3:])
    except SystemExit as error:
      if error.code:
        pytest.fail(f'{command}\n{capsys.readouterr().err}')


@pytest.mark.parametrize('path', PAGES, ids=page_name)
def test_links_and_configs_exist(path):
  text = path.read_text()
  for groups in LINK.findall(text):
    target = ''.join(groups).partition('#')[0]
    if target and not target.startswith(('http:', 'https:')):
      assert (path.parent / target).exists(), target
  for name in CONFIG_NAME.findall(text):
    assert name in NAMES, name
  for target in re.findall(
    r'`((?:configs|docs|tests|train|vq_jax)/[^`*]+)`', text
  ):
    assert (ROOT / target).exists(), target


def test_every_config_is_documented():
  text = ''.join(path.read_text() for path in PAGES)
  assert not [name for name in NAMES if name not in text]


def test_the_readme_is_short():
  assert len((ROOT / 'README.md').read_text().splitlines()) <= 160
