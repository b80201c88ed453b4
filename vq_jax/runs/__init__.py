"""Run folders: their layout, checkpoints, loading and exporting.

`load.load` returns the `vq_jax.Model` of a run, which may be remote
(`locations`); `export.export` writes a run folder, and `hub_folder.export_run`
one to publish; `checkpoints` saves and restores the state of a training.
"""

from vq_jax.runs import checkpoints
from vq_jax.runs import export
from vq_jax.runs import hub_folder
from vq_jax.runs import layout
from vq_jax.runs import load
from vq_jax.runs import locations
from vq_jax.runs.layout import RunError

__all__ = [
  'RunError',
  'checkpoints',
  'export',
  'hub_folder',
  'layout',
  'load',
  'locations',
]
