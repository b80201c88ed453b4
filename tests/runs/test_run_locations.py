"""A run is a folder, a packaged model, a bucket or a repository."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import types
import urllib.request

import numpy as np
import pytest

import vq_jax
from tests.runs import buckets
from vq_jax import pretrained
from vq_jax.runs import hub_folder
from vq_jax.runs import layout
from vq_jax.runs import locations
from vq_jax.utils import packages
from vq_jax.utils import paths

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def packaged(maskgit, tmp_path, monkeypatch):
  """Makes the run `tiny` a packaged model."""
  folder = tmp_path / 'packaged'
  folder.mkdir()
  (folder / 'tiny').symlink_to(maskgit)
  monkeypatch.setattr(pretrained, '_HERE', folder)
  monkeypatch.chdir(tmp_path)
  return folder / 'tiny'


def test_a_packaged_model_has_a_name(packaged, maskgit):
  assert pretrained.list_packaged() == ('tiny',)
  assert locations.resolve('tiny') == packaged
  assert locations.resolve('tiny/autoencoder') == packaged / 'autoencoder'
  np.testing.assert_array_equal(
    vq_jax.load('tiny').generate(0, num=1),
    vq_jax.load(maskgit).generate(0, num=1),
  )


def test_a_local_run_is_preferred_to_a_packaged_one(packaged, tmp_path):
  (tmp_path / 'tiny').mkdir()  # no run
  assert locations.resolve('tiny') == packaged
  (tmp_path / 'tiny' / layout.CONFIG).touch()
  assert locations.resolve('tiny') == pathlib.Path('tiny')


def test_results_are_not_written_into_the_package(packaged):
  runs = pathlib.Path('runs')
  assert locations.get_output_folder('tiny') == runs / 'tiny'
  assert locations.get_output_folder('hf://org/name/') == runs / 'name'
  assert locations.get_output_folder('runs/a') == runs / 'a'


@pytest.mark.parametrize(
  ('address', 'message'),
  [
    ('s3://bucket/run', 'got an address that starts with s3://'),
    ('hf://name', 'must be hf://org/name'),
    ('fashoin', "no such run folder: fashoin. Did you mean 'fashion'?"),
    ('nowhere', 'no such run folder: nowhere. Give the folder of a run, the'),
  ],
)
def test_other_addresses_are_refused(address, message):
  with pytest.raises(layout.RunError, match=message):
    vq_jax.load(address)


@pytest.mark.parametrize(
  ('address', 'module'),
  [('gs://bucket/run', 'gcsfs'), ('hf://org/name', 'huggingface_hub')],
)
def test_a_missing_package_is_named(address, module, monkeypatch):
  monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(packages.MissingPackageError, match=r'vq_jax\[hub\]'):
    vq_jax.load(address)


class Hub(types.ModuleType):
  """A stand-in for the client of the Hub."""

  def __init__(self, folder):
    super().__init__('huggingface_hub')
    self.folder, self.calls = folder, []

  def snapshot_download(self, repository, *, revision, **patterns):
    self.calls.append((repository, revision))
    if self.folder is None:
      raise OSError('401 Client Error.\nRepository Not Found')
    return self.folder


def test_a_repository_is_downloaded(maskgit, monkeypatch):
  hub = Hub(maskgit)
  monkeypatch.setitem(sys.modules, 'huggingface_hub', hub)
  assert vq_jax.load('hf://org/name@v1').prior is not None
  assert vq_jax.load('hf://org/name/autoencoder').prior is None
  assert hub.calls == [('org/name', 'v1'), ('org/name', None)]
  hub.folder = None
  with pytest.raises(layout.RunError, match='401 Client Error. Check the name'):
    vq_jax.load('hf://org/name')


def test_a_bucket_that_cannot_be_read_is_one_line(monkeypatch):
  pytest.importorskip('gcsfs')

  class Path(pathlib.PurePosixPath):
    def exists(self):
      raise RuntimeError('Anonymous caller has no access\ndetails')

  monkeypatch.setattr(paths, 'make', Path)
  with socket.create_server(('127.0.0.1', 0)) as server:
    host, port = server.getsockname()
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', f'{host}:{port}')
    with pytest.raises(layout.RunError) as error:
      locations.resolve('gs://bucket/run')
  message = str(error.value)
  assert 'cannot be read: Anonymous caller has no access. Check' in message


def test_a_missing_connection_is_noticed_at_once(monkeypatch):
  pytest.importorskip('gcsfs')
  monkeypatch.setattr(urllib.request, 'getproxies', dict)
  monkeypatch.setenv('STORAGE_EMULATOR_HOST', 'http://127.0.0.1:1')
  began = time.monotonic()
  with pytest.raises(layout.RunError, match='there is no connection to 127.0'):
    vq_jax.load('gs://bucket/run')
  assert time.monotonic() - began < 5  # gcsfs alone tries for half a minute


GS = """
import sys
import numpy as np
import vq_jax
want = vq_jax.load(sys.argv[1]).generate(0, num=1)
for name in ('trained', 'exported'):
  found = vq_jax.load(f'gs://bucket/runs/{name}').generate(0, num=1)
  np.testing.assert_array_equal(found, want)
try:
  vq_jax.load('gs://bucket/runs/nowhere')
except vq_jax.runs.RunError as error:
  print(error)
"""


@pytest.mark.slow
def test_runs_in_a_bucket_load_to_the_bit(maskgit, tmp_path):
  pytest.importorskip('gcsfs')
  shutil.copytree(maskgit, tmp_path / 'runs' / 'trained')
  hub_folder.export_run(
    maskgit, tmp_path / 'runs' / 'exported', format='safetensors'
  )
  with buckets.serve(tmp_path) as url:
    done = subprocess.run(
      [sys.executable, '-c', GS, maskgit],
      env={
        **os.environ,
        'STORAGE_EMULATOR_HOST': url,
        'TENSORSTORE_GCS_HTTP_URL': url,
        'PYTHONPATH': str(ROOT),
      },
      capture_output=True,
      text=True,
    )
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith('no such run folder: gs://bucket/runs/nowhere')
