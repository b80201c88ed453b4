"""Released checkpoints -> our variables: a table of rules per source.

`load(kind, path)` reads the architecture off the file and returns a `Model`.
"""

from vq_jax.convert.errors import ConvertError
from vq_jax.convert.errors import ConvertWarning
from vq_jax.convert.loading import KINDS
from vq_jax.convert.loading import load

__all__ = ['KINDS', 'ConvertError', 'ConvertWarning', 'load']
