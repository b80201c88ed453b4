"""Conversion of released checkpoints, with a table of rules for each source.

`load(kind, path)` infers the architecture from the file and returns a `Model`;
`export(model, folder, format)` writes the files of such a release.
"""

from vq_jax.convert.exporting import FORMATS as EXPORT_FORMATS
from vq_jax.convert.exporting import export
from vq_jax.convert.loading import KINDS
from vq_jax.convert.loading import load
from vq_jax.utils.conversion.errors import ConvertError
from vq_jax.utils.conversion.errors import ConvertWarning

__all__ = [
  'EXPORT_FORMATS',
  'KINDS',
  'ConvertError',
  'ConvertWarning',
  'export',
  'load',
]
