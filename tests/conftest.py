"""A hostile place to run in: eight devices, and no silent promotion."""

import gc
import importlib.util
import mmap
import os
import pathlib
import tempfile

# Compiling is most of what the tests do: do it lightly, and, for the processes
# that they start too, only once for programs of one shape. The workers of
# pytest-xdist inherit the environment, and with it the cache, of the first.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _CACHE = tempfile.TemporaryDirectory()
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _CACHE.name


def _compiler_flags() -> str:
  """Returns flags with which XLA compiles fast, and waits for busy devices.

  Without optimization, programs are compiled in two thirds of the time. By
  default a program is compiled in several parts at once, which gains nothing
  while the other cores run tests, too; in one part it takes a tenth less.

  XLA ends the process when a device has waited too long for the others, by
  default 40 seconds, which eight devices on a few busy cores may need.

  XLA refuses flags that it does not know, and the flags of its parts come and
  go, so only those whose names are in its library are set.
  """
  flags = {
    'xla_backend_optimization_level': '0',
    'xla_cpu_parallel_codegen_split_count': '1',
    'xla_cpu_use_fusion_emitters': 'false',
    'xla_cpu_collective_call_terminate_timeout_seconds': '600',
  }
  (folder,) = importlib.util.find_spec('jaxlib').submodule_search_locations
  library = pathlib.Path(folder) / 'libjax_common.so'
  with (
    library.open('rb') as file,
    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
  ):
    # Of a flag that is gone, the name may stand in longer strings.
    known = [f for f in flags if content.find(f'\0{f}\0'.encode()) >= 0]
  return ' '.join(f'--{flag}={flags[flag]}' for flag in known)


if 'XLA_FLAGS' not in os.environ:
  os.environ['XLA_FLAGS'] = _compiler_flags()
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
os.environ['JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES'] = '0'

import jax  # noqa: E402
import pytest  # noqa: E402

# Tracing makes many objects that stay. The default thresholds of the collector,
# at which it goes through all of them, would cost a twentieth of the time.
gc.set_threshold(50_000, 10, 10)

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Begins with the files that take longest, so that no process waits long."""
  items.sort(key=lambda item: 'tests/train' not in item.path.as_posix())


@pytest.fixture(scope='module', autouse=True)
def forget_programs():
  """Drops what a module compiled: each program keeps pages of memory mapped.

  A process may have 65,530 such mappings, and XLA crashes beyond them; those of
  all tests together come near.
  """
  yield
  jax.clear_caches()


@pytest.fixture(scope='session')
def source(tmp_path_factory) -> str:
  """Tiny images, as a data source."""
  from tests.train import tiny_configs

  return tiny_configs.write_images(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='session')
def tokenizer(source, tmp_path_factory) -> str:
  """The run of a tiny autoencoder."""
  from tests.train import tiny_configs
  from train import loop

  folder = tmp_path_factory.mktemp('runs') / 'tokenizer'
  loop.train(tiny_configs.autoencoder(source, num_images=4), folder)
  return str(folder)


@pytest.fixture(scope='session')
def vae_run(source, tmp_path_factory) -> str:
  """The run of a tiny VAE."""
  from tests.train import tiny_configs
  from train import loop

  folder = tmp_path_factory.mktemp('runs') / 'vae'
  loop.train(tiny_configs.vae(source, num_images=4), folder)
  return str(folder)


@pytest.fixture(scope='session')
def maskgit(source, tokenizer, tmp_path_factory) -> str:
  """The run of a tiny prior on it."""
  from tests.train import tiny_configs
  from train import loop

  folder = tmp_path_factory.mktemp('runs') / 'maskgit'
  loop.train(tiny_configs.prior(source, tokenizer, num_images=4), folder)
  return str(folder)


# What users of a part of the library may not have installed.
_OPTIONAL = (
  'array_record',
  'chex',
  'dm_pix',
  'grain',
  'imageio_ffmpeg',
  'ml_collections',
  'sklearn',
  'tensorboardX',
  'tensorflow_datasets',
  'tokenizers',
  'tqdm',
)


@pytest.fixture
def bare_environment(tmp_path) -> dict[str, str]:
  """The environment of processes in which optional packages are not found."""
  folder = tmp_path / 'bare'
  folder.mkdir()
  (folder / 'sitecustomize.py').write_text(
    f'import sys\nsys.modules.update(dict.fromkeys({_OPTIONAL!r}))\n'
  )
  root = pathlib.Path(__file__).parents[1]
  path = os.pathsep.join([str(folder), str(root)])
  return {**os.environ, 'PYTHONPATH': path}
