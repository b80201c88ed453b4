"""Work that several processes share."""

import jax
import numpy as np
import pytest

from vq_jax.utils import devices


@pytest.mark.parametrize('count', [1, 2, 4])
@pytest.mark.parametrize('num', [1, 4, 5, 8])
def test_the_parts_of_all_processes_are_the_whole(num, count, monkeypatch):
  """None is empty, and padded to one length they are joined in order."""
  monkeypatch.setattr(jax, 'process_count', lambda: count)
  length, joined = -(-num // count), []
  for index in range(count):
    monkeypatch.setattr(jax, 'process_index', lambda index=index: index)
    part = np.array(devices.split_over_processes(num))
    assert 1 <= len(part) <= length
    joined.extend(np.pad(part, (0, length - len(part))))
  np.testing.assert_array_equal(joined[:num], range(num))
