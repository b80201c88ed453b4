"""Times of two programs in turns, with the rate of the machine."""

import ctypes
from collections.abc import Callable

import jax
import jax.numpy as jnp

from tests.benchmarks.speed import timing

Action = Callable[[int], object]
HEADER = (
  '| | theirs | ours | theirs / ours | matrices, GFLOP/s |\n'
  '|---|---|---|---|---|'
)
_SIDE = 2048  # of the matrices whose product gives the rate of the machine

# Options of glibc's mallopt: one arena, which grows and is never trimmed.
_M_ARENA_MAX, _M_MMAP_MAX, _M_TRIM_THRESHOLD = -8, -4, -1


def keep_freed_memory() -> None:
  """Makes this process keep the memory that either side frees.

  Otherwise a virtual machine may return it to its host, and every step waits
  for new pages: up to 50 microseconds each, as often as the host likes. It has
  an effect with glibc, before JAX and PyTorch have started threads.
  """
  libc = ctypes.CDLL(None)
  if hasattr(libc, 'mallopt'):
    libc.mallopt(_M_ARENA_MAX, 1)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)


def compare(name: str, theirs: Action, ours: Action, turns: int) -> str:
  """Times both sides and a product of matrices, and returns a line."""
  square = jnp.ones((_SIDE, _SIDE))
  multiply = jax.jit(jnp.matmul)
  times = timing.best_of_turns(
    {
      'matrix': lambda _: jax.block_until_ready(multiply(square, square)),
      'theirs': theirs,
      'ours': ours,
    },
    turns,
  )
  rate = 2 * _SIDE**3 / times['matrix'] / 1e9
  ratio = times['theirs'] / times['ours']
  return (
    f'| {name} | {times["theirs"]:.3f} s | {times["ours"]:.3f} s | '
    f'{ratio:.2f} | {rate:.0f} |'
  )
