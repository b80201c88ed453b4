"""The types of arguments and results of a model.

`Array` is an array of JAX or NumPy. `Indices` are those of an image's tokens:
int32 [B, h, w, *index_shape], or a tuple of them, one for each token grid, the
parent level first. `Labels` are classes, by number from 0 or by name: one class
for all images, or one for each.
"""

from collections.abc import Sequence

import jax
import numpy as np

Array = jax.Array | np.ndarray
Indices = Array | tuple[Array, ...]
Labels = Array | Sequence[int | str] | int | str | None
