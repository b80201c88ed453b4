"""Time and memory of the code search and of IBQ, beside the plain forms.

    python -m tests.benchmarks.code_search --quick
    python -m tests.benchmarks.code_search
    python -m tests.benchmarks.code_search --tpu v5e:2x2

The plain forms have arrays [N, K] of all vectors and all codes. Both forms run
in turns in one process; the best times are printed, the memory that the
compiled programs need beside arguments and results, and the rate of a product
of two matrices in the same run. Without --quick, the plain search of the
largest problem needs 9 GiB. With --tpu nothing runs: the compiler of libtpu
tells the memory on one chip and its estimate of the cycles.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from train.planning import chips
from train.planning import hlo
from vq_jax import quantizers
from vq_jax.quantizers import nearest as search

MIB = 2**20
# N, K, D
SMALL = [
  (1024, 512, 8),
  (1024, 512, 64),
  (1024, 1024, 256),
  (4096, 512, 8),
  (4096, 512, 64),
  (8192, 1024, 8),
  (8192, 1024, 64),
  (8192, 1024, 256),
]
MIDDLE, LARGE = (32_768, 8192, 32), (262_144, 8192, 32)
TRAINING = [(4096, 1024, 32), (4096, 8192, 32)]
TPU_TRAINING = [(4096, 8192, 32), (16_384, 262_144, 32)]


def plain_search(z: jax.Array, codebook: jax.Array) -> jax.Array:
  """The smallest of all distances."""
  distances = search.squared_distances(z, codebook)
  return jnp.argmin(distances, axis=-1).astype(jnp.int32)


def plain_ibq(z: jax.Array, codebook: jax.Array) -> jax.Array:
  """The loss of IBQ and a function of its output, in the words of the paper."""
  logits = search.inner_products(z, codebook)
  indices = jnp.argmax(logits, axis=-1)
  stop = jax.lax.stop_gradient
  p = jax.nn.softmax(logits)
  choice = jax.nn.one_hot(indices, len(codebook)) + p - stop(p)
  quantized, codes = choice @ codebook, codebook[indices]
  log_p = jax.nn.log_softmax(logits / 0.01)
  p = jnp.exp(log_p)
  mean = p.mean(axis=0)
  entropy = -jnp.sum(p * log_p) / len(z)
  entropy += jnp.sum(mean * jnp.log(jnp.maximum(mean, 1e-38)))
  loss = jnp.mean(jnp.square(quantized - z)) + 0.05 * entropy
  loss += jnp.mean(jnp.square(stop(codes) - z))
  loss += 0.25 * jnp.mean(jnp.square(codes - stop(z)))
  return loss + jnp.sum(jnp.sin(quantized))


def ibq(z: jax.Array, codebook: jax.Array) -> jax.Array:
  """The same by the quantizer."""
  quantizer = quantizers.IBQ(*codebook.shape)
  quantized = quantizer.apply({'params': {'codebook': codebook}}, z)
  return quantized.loss + jnp.sum(jnp.sin(quantized.quantized))


SEARCH = {'plain': plain_search, 'vq_jax': search.nearest}
TRAIN = {
  'plain': jax.grad(plain_ibq, argnums=(0, 1)),
  'vq_jax': jax.grad(ibq, argnums=(0, 1)),
}


def matrix_rate() -> float:
  """Returns the best rate of a product of matrices, GFLOP/s."""
  x = jnp.ones((2048, 2048))
  product = jax.jit(lambda x: x @ x)
  jax.block_until_ready(product(x))
  times = []
  for _ in range(5):
    start = time.perf_counter()
    jax.block_until_ready(product(x))
    times.append(time.perf_counter() - start)
  return 2 * 2048**3 / min(times) / 1e9


def compare(
  functions: dict[str, Callable], size: tuple[int, int, int], turns: int
) -> None:
  """Prints a row: the best time of each function, and its memory."""
  n, k, d = size
  rng = np.random.default_rng(0)
  z = jnp.asarray(rng.normal(size=(n, d)), jnp.float32)
  codebook = jnp.asarray(rng.normal(size=(k, d)), jnp.float32)
  compiled = {
    name: jax.jit(f).lower(z, codebook).compile()
    for name, f in functions.items()
  }
  times = {name: [] for name in functions}
  for turn in range(turns + 1):
    for name, run in compiled.items():
      start = time.perf_counter()
      jax.block_until_ready(run(z, codebook))
      if turn:  # the first is not counted
        times[name].append(time.perf_counter() - start)
  memory = [
    f'{run.memory_analysis().temp_size_in_bytes / MIB:,.1f}'
    for run in compiled.values()
  ]
  plain, ours = (min(t) for t in times.values())
  print(
    f'| {n:,} | {k:,} | {d} | {plain * 1e3:,.2f} | {ours * 1e3:,.2f} '
    f'| {plain / ours:.2f} | {" | ".join(memory)} |',
    flush=True,
  )


def plan(
  functions: dict[str, Callable],
  size: tuple[int, int, int],
  device: jax.Device,
) -> None:
  """Prints a row: what a compiler tells of each function."""
  n, k, d = size
  sharding = jax.sharding.SingleDeviceSharding(device)
  z, codebook = (
    jax.ShapeDtypeStruct((rows, d), jnp.float32, sharding=sharding)
    for rows in (n, k)
  )
  cells = []
  for function in functions.values():
    try:
      run = jax.jit(function).lower(z, codebook).compile()
    except jax.errors.JaxRuntimeError as error:  # does not fit
      cells += [str(error).splitlines()[0][:40], '-']
      continue
    bytes_ = run.memory_analysis().temp_size_in_bytes
    cycles = hlo.Program(run.as_text()).cycles
    cells += [f'{bytes_ / MIB:,.1f}', f'{cycles / 1e6:,.1f}']
  print(f'| {n:,} | {k:,} | {d} | {" | ".join(cells)} |', flush=True)


def main() -> None:
  """Prints the tables."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--quick', action='store_true')
  parser.add_argument('--turns', type=int, default=10)
  parser.add_argument('--tpu', metavar='TOPOLOGY')
  arguments = parser.parse_args()
  if arguments.tpu:
    device = chips.open_topology(arguments.tpu).devices[0]
    head = '| N | K | D | plain, MiB | M cycles | vq_jax, MiB | M cycles |'
    for title, functions, sizes in [
      ('Search', SEARCH, [SMALL[-1], MIDDLE, LARGE]),
      ('IBQ with gradients', TRAIN, TPU_TRAINING),
    ]:
      print(f'\n{title}\n\n{head}\n|{"---|" * 7}', flush=True)
      for size in sizes:
        plan(functions, size, device)
    return
  print(f'product of matrices: {matrix_rate():.0f} GFLOP/s')
  head = (
    '| N | K | D | plain, ms | vq_jax, ms | ratio | plain, MiB | vq_jax, MiB |'
  )
  large = [(MIDDLE, 2)] if arguments.quick else [(MIDDLE, 3), (LARGE, 1)]
  turns = 3 if arguments.quick else arguments.turns
  small = SMALL[::3] if arguments.quick else SMALL
  train = TRAINING[:1] if arguments.quick else TRAINING
  print(f'\nSearch\n\n{head}\n|{"---|" * 8}')
  for size, n in [*((size, turns) for size in small), *large]:
    compare(SEARCH, size, n)
  print(f'\nIBQ with gradients\n\n{head}\n|{"---|" * 8}')
  for size in train:
    compare(TRAIN, size, turns)
  print(f'\nproduct of matrices: {matrix_rate():.0f} GFLOP/s')


if __name__ == '__main__':
  main()
