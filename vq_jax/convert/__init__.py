"""Conversion of released checkpoints, with a table of rules for each source.

`load(kind, path)` infers the architecture from the file and returns a `Model`.
"""

from vq_jax.convert.loading import KINDS
from vq_jax.convert.loading import load
from vq_jax.utils.conversion.errors import ConvertError
from vq_jax.utils.conversion.errors import ConvertWarning

__all__ = ['KINDS', 'ConvertError', 'ConvertWarning', 'load']
