"""A hostile place to run in: eight devices, and no silent promotion."""

import tempfile

import jax

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')

# Runs of one shape compile one program: the second finds it here.
_CACHE = tempfile.TemporaryDirectory()
jax.config.update('jax_compilation_cache_dir', _CACHE.name)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)
