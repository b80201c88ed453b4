"""Reading ahead in threads, in order."""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent import futures
from typing import TypeVar

T = TypeVar('T')


def map_ahead(
  function: Callable[[int], T], numbers: Iterable[int], *, ahead: int
) -> Iterator[T]:
  """Yields function(number) for each number, a few results ahead.

  Example:
    >>> list(map_ahead(lambda i: i * i, range(4), ahead=2))
    [0, 1, 4, 9]

  Args:
    function: is called in threads.
    numbers: its arguments.
    ahead: number of threads, and of results that are computed before they are
      needed.
  """
  with futures.ThreadPoolExecutor(ahead) as pool:
    running: collections.deque[futures.Future[T]] = collections.deque()
    try:
      for number in numbers:
        running.append(pool.submit(function, number))
        if len(running) > ahead:
          yield running.popleft().result()
      while running:
        yield running.popleft().result()
    finally:  # also if the caller stops early
      for future in running:
        future.cancel()
