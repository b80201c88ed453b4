"""Training programs ask for huge pages, where malloc must be told to do so."""

import os
import pathlib
import subprocess
import sys

import pytest

from train import huge_pages

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def on_request(monkeypatch, tmp_path):
  """A machine that gives huge pages to programs that ask for them."""
  setting = tmp_path / 'enabled'
  setting.write_text('always [madvise] never\n')
  monkeypatch.setattr(huge_pages, 'SETTING', setting)
  monkeypatch.setattr('platform.libc_ver', lambda: ('glibc', '2.36'))
  monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
  return setting


def test_other_tunables_are_kept(on_request, monkeypatch):
  assert huge_pages.get_environment() == {
    'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'
  }
  monkeypatch.setenv('GLIBC_TUNABLES', 'glibc.rtld.nns=4')
  assert huge_pages.get_environment() == {
    'GLIBC_TUNABLES': 'glibc.rtld.nns=4:glibc.malloc.hugetlb=1'
  }


@pytest.mark.parametrize('value', ['0', '1', '2'])
def test_the_choice_of_the_user_stands(on_request, monkeypatch, value):
  monkeypatch.setenv('GLIBC_TUNABLES', f'glibc.malloc.hugetlb={value}')
  assert huge_pages.get_environment() == {}


@pytest.mark.parametrize('text', ['[always] madvise never', 'always [never]'])
def test_nothing_where_the_kernel_decides(on_request, text):
  on_request.write_text(text)
  assert huge_pages.get_environment() == {}


@pytest.mark.parametrize('libc', [('glibc', '2.34'), ('', ''), ('musl', '1.2')])
def test_nothing_without_such_a_glibc(on_request, monkeypatch, libc):
  monkeypatch.setattr('platform.libc_ver', lambda: libc)
  assert huge_pages.get_environment() == {}


def test_nothing_without_the_setting(on_request):
  on_request.unlink()
  assert huge_pages.get_environment() == {}


def test_the_same_command_starts_again(on_request, monkeypatch):
  calls = []
  monkeypatch.setattr(os, 'execve', lambda *call: calls.append(call))
  monkeypatch.setattr(sys, 'orig_argv', ['python', '-m', 'train.main', '--x'])
  huge_pages.restart_with_huge_pages()
  ((program, command, environment),) = calls
  assert program == sys.executable
  assert command == [sys.executable, '-m', 'train.main', '--x']
  assert environment == os.environ | huge_pages.get_environment()


@pytest.mark.parametrize('module', ['train.main', 'train.quickstart'])
def test_programs_start_again_before_they_import_jax(module):
  environment = dict(os.environ)
  environment.pop('GLIBC_TUNABLES', None)
  done = subprocess.run(
    [sys.executable, '-X', 'importtime', '-m', module, '--help'],
    env=environment,
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0 and done.stdout.startswith('usage:')
  imported = [line.split('|')[-1].strip() for line in done.stderr.splitlines()]
  assert imported.count('jax') == 1
  starts = 2 if huge_pages.get_environment() else 1
  assert imported.count('train.huge_pages') == starts
