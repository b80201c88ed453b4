"""Groups of queries that attention computes one after the other."""

_TILE = 128
_SMALLEST_GROUP = 64

Groups = tuple[tuple[int, int], ...]  # (start, end) of each


def for_causal(n: int) -> Groups:
  """Returns groups of n queries, of which the first read few keys."""
  # More than four would save little more.
  size = max(_SMALLEST_GROUP, -(-n // 4))
  return tuple((start, min(start + size, n)) for start in range(0, n, size))


def for_tiles(n: int) -> Groups:
  """Returns groups of n queries that fill the tiles of a TPU.

  A TPU computes queries in tiles of 128 and fills up the last one. Few of them,
  such as the label beside 256 tokens, take less time on their own.
  """
  rest = n % _TILE
  if n > rest and 0 < rest <= _TILE // 8:
    return (0, n - rest), (n - rest, n)
  return ((0, n),)
