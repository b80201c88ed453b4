"""Groups of queries that attention computes one after the other."""

_TILE = 128
_SMALLEST_GROUP = 64

Groups = list[tuple[int, int]]  # (start, end) of each


def make_groups(n: int, causal: bool) -> Groups:
  """Returns groups of n queries.

  Args:
    n: number of queries.
    causal: whether a query reads only the keys up to its own position.
  """
  if causal:
    # The first groups read few keys. More groups would save little more.
    size = max(_SMALLEST_GROUP, -(-n // 4))
    return [(start, min(start + size, n)) for start in range(0, n, size)]
  # A TPU computes queries in tiles of 128 and fills up the last one. Few of
  # them, such as the label beside 256 tokens, take less time on their own; on a
  # CPU too.
  rest = n % _TILE
  if n > rest and 0 < rest <= _TILE // 8:
    return [(0, n - rest), (n - rest, n)]
  return [(0, n)]
