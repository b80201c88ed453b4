"""Token ids: the one place that adds offsets to them."""

import dataclasses

import jax
import jax.numpy as jnp

from vq_jax.utils import fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vocab:
  """What the ids of a prior mean.

  | ids | meaning |
  |---|---|
  | 0 ... codebook_size - 1 | codes |
  | then num_classes | class labels |
  | then one, if null_class | "no class", for classifier-free guidance |
  | the last | the mask |

  Without a null class this is the layout of MaskGIT's released weights, whose
  own mask id -1 stands for the last row of the embedding.

  Attributes:
    codebook_size: K.
    num_classes: 0 for an unconditional prior.
    null_class: whether labels can be dropped.
  """

  codebook_size: fields.PositiveInt
  num_classes: fields.NonNegativeInt = 0
  null_class: bool = False

  def __post_init__(self):
    if self.codebook_size < 1 or self.num_classes < 0:
      raise ValueError(
        'a vocabulary needs codebook_size >= 1 and num_classes >= 0; got '
        f'{self.codebook_size} and {self.num_classes}.'
      )
    if self.null_class and not self.num_classes:
      raise ValueError('null_class makes sense only with num_classes >= 1.')

  @property
  def size(self) -> int:
    """The number of ids."""
    return self.num_known + 1

  @property
  def num_known(self) -> int:
    """The ids but for the mask: all that a prior without masks embeds."""
    return self.codebook_size + self.num_labels

  @property
  def num_labels(self) -> int:
    """The labels that a prior accepts: the classes, and the null class."""
    return self.num_classes + self.null_class

  @property
  def mask_id(self) -> int:
    """The token that stands for "not decided yet"."""
    return self.size - 1

  @property
  def null_label(self) -> int:
    """The label (not the id) that means "no class".

    Raises:
      ValueError: if there is none.
    """
    if not self.null_class:
      raise ValueError(
        'this prior was trained without a null class, so there is no '
        'classifier-free guidance for it; use guidance 0.'
      )
    return self.num_classes

  def label_id(self, label: jax.Array) -> jax.Array:
    """Maps labels int32 [...] to ids."""
    return label + self.codebook_size

  def take_over(
    self, other: 'Vocab', theirs: jax.Array, ours: jax.Array
  ) -> jax.Array:
    """Returns a table with the codes (and mask) of another, and our labels.

    So a prior learns other classes without losing what it knows of codes.

    Args:
      other: a vocabulary of the same codes.
      theirs: [other.size, ...], or [other.num_known, ...] without a mask.
      ours: [size, ...], or [num_known, ...] without a mask.
    """
    k = self.codebook_size
    labels = ours[k : self.num_known]
    return jnp.concatenate([theirs[:k], labels, theirs[other.num_known :]])
