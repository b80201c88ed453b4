"""The arrays of checkpoints, for comparisons."""

import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from vq_jax.runs import layout


def saved(folder, step: int | None = None) -> dict[str, np.ndarray]:
  """Everything a checkpoint holds, flat; by default the latest."""
  path = pathlib.Path(folder) / layout.CHECKPOINTS
  if step is None:
    step = max(ocp.utils.checkpoint_steps(path))
  handler = ocp.PyTreeCheckpointHandler()
  found = {'step': step}
  for item in ('variables', 'ema', 'training'):
    if (path / str(step) / item).is_dir():
      item_path = path / str(step) / item
      checkpointer = ocp.PyTreeCheckpointer(handler)
      # As numpy arrays, on whatever devices and processes they were saved.
      restore = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
        checkpointer.metadata(item_path).item_metadata.tree,
      )
      tree = checkpointer.restore(item_path, restore_args=restore)
      leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
      for key, leaf in leaves:
        found[item + jax.tree_util.keystr(key)] = np.asarray(leaf)
  return found


def assert_same(a: dict, b: dict, atol: float = 0.0) -> None:
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_allclose(
      a[name], b[name], atol=atol, rtol=0, err_msg=name
    )
