"""A hostile place to run in: eight devices, and no silent promotion."""

import os
import tempfile

# Compiling is most of what the tests do.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0')

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')

# Runs of one shape compile one program: the second finds it here.
_CACHE = tempfile.TemporaryDirectory()
jax.config.update('jax_compilation_cache_dir', _CACHE.name)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)


@pytest.fixture(scope='session')
def source(tmp_path_factory) -> str:
  """Tiny images, as a data source."""
  from tests.train import cards

  return cards.write_images(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='session')
def tokenizer(source, tmp_path_factory) -> str:
  """The run of a tiny autoencoder."""
  from tests.train import cards
  from train import loop

  folder = tmp_path_factory.mktemp('runs') / 'tokenizer'
  loop.train(cards.autoencoder(source), folder)
  return str(folder)


@pytest.fixture(scope='session')
def maskgit(source, tokenizer, tmp_path_factory) -> str:
  """The run of a tiny prior on it."""
  from tests.train import cards
  from train import loop

  folder = tmp_path_factory.mktemp('runs') / 'maskgit'
  loop.train(cards.prior(source, tokenizer), folder)
  return str(folder)
