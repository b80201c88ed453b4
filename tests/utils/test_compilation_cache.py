"""Where compiled programs are kept, and when they are not."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from vq_jax.utils.compilation_cache import use_compilation_cache


@pytest.fixture(autouse=True)
def unset():
  """As in a process of a user, who has set nothing."""
  before = jax.config.jax_compilation_cache_dir
  jax.config.update('jax_compilation_cache_dir', None)
  yield
  jax.config.update('jax_compilation_cache_dir', before)


def test_the_folder_is_that_of_the_user(tmp_path, monkeypatch):
  folder = use_compilation_cache({'XDG_CACHE_HOME': str(tmp_path)})
  assert folder == tmp_path / 'vq_jax' / 'xla' and folder.is_dir()
  assert jax.config.jax_compilation_cache_dir == str(folder)
  assert use_compilation_cache({'XDG_CACHE_HOME': '/other'}) is None
  jax.config.update('jax_compilation_cache_dir', None)
  monkeypatch.setattr(pathlib.Path, 'home', lambda: tmp_path)
  found = use_compilation_cache({})
  assert found == tmp_path / '.cache' / 'vq_jax' / 'xla'


def test_the_settings_of_jax_have_precedence(tmp_path):
  environ = {'XDG_CACHE_HOME': str(tmp_path)}
  for value in ('', '/elsewhere'):
    with_jax = {**environ, 'JAX_COMPILATION_CACHE_DIR': value}
    assert use_compilation_cache(with_jax) is None
  jax.config.update('jax_enable_compilation_cache', False)
  try:
    assert use_compilation_cache(environ) is None
  finally:
    jax.config.update('jax_enable_compilation_cache', True)
  assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_not_used(tmp_path):
  (tmp_path / 'file').write_text('')
  environ = {'XDG_CACHE_HOME': str(tmp_path / 'file')}
  assert use_compilation_cache(environ) is None
  assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.slow
def test_a_program_keeps_what_it_compiles_for_the_next_process(tmp_path):
  script = """
import jax
from vq_jax.utils.compilation_cache import use_compilation_cache
use_compilation_cache()
hits = []
jax.monitoring.register_event_listener(
  lambda name, **_: hits.append(name) if name.endswith('cache_hits') else None)
jax.jit(lambda x: x * 2 + 1)(3.0)
print(len(hits))
"""
  environ = {k: v for k, v in os.environ.items() if 'CACHE_DIR' not in k}
  environ |= {'XDG_CACHE_HOME': str(tmp_path), 'JAX_PLATFORMS': 'cpu'}
  counts = [
    int(subprocess.check_output([sys.executable, '-c', script], env=environ))
    for _ in range(2)
  ]
  assert counts[0] == 0 and counts[1] > 0
