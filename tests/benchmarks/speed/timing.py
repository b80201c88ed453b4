"""Time, memory and the rate of matrix products of the device at hand."""

import dataclasses
import gc
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from train.planning import figures

Action = Callable[[int], object]
T = TypeVar('T')


def best_of_turns(
  actions: Mapping[str, Action], turns: int
) -> dict[str, float]:
  """Returns the seconds of each action, the best of several turns.

  Args:
    actions: name -> function of the number of the turn, which returns once its
      work is done. It is called once more before, with 0.
    turns: how often each of them is called, one after the other.
  """
  for action in actions.values():
    action(0)  # compiles
  seconds = dict.fromkeys(actions, float('inf'))
  for turn in range(turns):
    for name, action in actions.items():
      began = time.perf_counter()
      action(turn + 1)
      seconds[name] = min(seconds[name], time.perf_counter() - began)
  return seconds


def time_repeats(repeat: Callable[[int], object], seconds: float) -> float:
  """Returns the seconds of one run of what `repeat(n)` does n times.

  It is the best of three measurements, which take about `seconds` together; of
  two runs if the first takes longer than that, since a first run may wait for
  memory that no program has used before.

  Args:
    repeat: runs a program n times, which is compiled already, and waits once.
    seconds: how long the measurement takes.
  """

  def measure(n: int) -> float:
    began = time.perf_counter()
    repeat(n)
    return (time.perf_counter() - began) / n

  first = measure(1)
  if first > seconds:
    return min(first, measure(1))
  n = max(1, int(seconds / 3 / first))
  return min(measure(n) for _ in range(3))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
  """The device at hand.

  Attributes:
    platform: such as 'gpu' or 'cpu'.
    kind: its name.
    devices: number of devices.
    dtype: of the computation of all items.
    size: number of rows of the matrices by which its rate is measured.
    rate_of_one: operations per second of a product of two square matrices of
      that type on one device. The devices of a CPU are its cores, and all of
      them multiply.
    memory: bytes that a program may use on a device; None if not known.
  """

  platform: str
  kind: str
  devices: int
  dtype: str
  size: int
  rate_of_one: float
  memory: int | None

  @classmethod
  def measure(cls, *, smoke: bool, seconds: float = 1.0) -> 'Machine':
    """Measures the rate of the first device.

    An accelerator multiplies matrices of 8192 x 8192 in bfloat16, a CPU those
    of 2048 x 2048 in float32, and with `smoke` those of 256 x 256.
    """
    device = jax.devices()[0]
    cpu = device.platform == 'cpu'
    dtype = 'float32' if cpu else 'bfloat16'
    size = 256 if smoke else 2048 if cpu else 8192
    stats = device.memory_stats() or {}
    return cls(
      platform=device.platform,
      kind=device.device_kind,
      devices=jax.device_count(),
      dtype=dtype,
      size=size,
      rate_of_one=_measure_rate(size, dtype, seconds),
      memory=stats.get('bytes_limit'),
    )

  @property
  def devices_that_add(self) -> int:
    """Number of devices whose rates are added for that of all of them."""
    return 1 if self.platform == 'cpu' else self.devices

  def measure_rate(self, seconds: float) -> float:
    """Measures `rate_of_one` again, as it may change with time."""
    return _measure_rate(self.size, self.dtype, seconds)

  def scale_batch(self, batch: int) -> int:
    """Returns a batch for the memory of a device, given that for 72 GiB.

    It is a power of two times the batch.
    """
    if self.memory is None:
      return batch
    exponent = int(np.floor(np.log2(self.memory / (72 * 2**30)) + 0.5))
    return max(1, int(batch * 2.0**exponent))


def _measure_rate(size: int, dtype: str, seconds: float) -> float:
  return 2 * size**3 / time_matrix_product(size, dtype, seconds)


def time_matrix_product(size: int, dtype: str, seconds: float) -> float:
  """Returns the seconds of a product of two square matrices."""
  key = jax.random.key(0)
  a = jax.random.normal(key, (size, size), jnp.float32)
  a = (size**-0.5 * a).astype(dtype)  # so that the products keep their size
  product = jax.jit(jnp.matmul)
  jax.block_until_ready(product(a, a))

  def repeat(n: int) -> None:
    x = a
    for _ in range(n):
      x = product(a, x)
    jax.block_until_ready(x)

  return time_repeats(repeat, seconds)


def get_peak_memory() -> int | None:
  """Returns the most bytes in use on the first device so far, if known."""
  stats = jax.devices()[0].memory_stats() or {}
  return stats.get('peak_bytes_in_use')


def is_out_of_memory(error: BaseException) -> bool:
  """Returns whether an error says that the memory of a device is exhausted."""
  text = f'{type(error).__name__} {error}'.lower()
  signs = ('resource_exhausted', 'out of memory', 'outofmemory')
  return isinstance(error, figures.DoesNotFit) or any(s in text for s in signs)


def halve_until_it_fits(
  attempt: Callable[[int], T], batch: int, smallest: int = 1
) -> T:
  """Returns the result of the largest batch that fits into memory.

  Args:
    attempt: a function of the number of examples.
    batch: the number that is tried first; it is halved until it fits.
    smallest: the smallest number that is tried.
  """
  while True:
    try:
      return attempt(batch)
    except Exception as error:
      if not is_out_of_memory(error) or batch // 2 < smallest:
        raise
    # Here the error is gone, and with it what it held on the device.
    gc.collect()
    batch //= 2
