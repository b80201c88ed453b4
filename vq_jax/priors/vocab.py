"""Token ids: this module alone does arithmetic with them."""

import dataclasses

import jax
import jax.numpy as jnp

from vq_jax.utils import fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vocab:
  """The layout of the ids that a prior embeds.

  | ids | meaning |
  |---|---|
  | 0 ... codebook_size - 1 | codebook indices |
  | the next num_classes | class labels |
  | the next one, with null_class | no class, for classifier-free guidance |
  | the last | the mask |

  Without a null class this is the layout of MaskGIT's released weights, in
  which the mask id -1 selects the last row of the embedding.

  Attributes:
    codebook_size: K.
    num_classes: number of classes; 0 for an unconditional prior.
    null_class: whether there is a label for "no class".

  Example:
    >>> from vq_jax import priors
    >>> vocab = priors.Vocab(codebook_size=8, num_classes=3, null_class=True)
    >>> vocab.size, vocab.mask_id, vocab.null_label
    (13, 12, 3)
  """

  codebook_size: fields.PositiveInt
  num_classes: fields.NonNegativeInt = 0
  null_class: bool = False

  def __post_init__(self):
    fields.check(self)
    if self.null_class and not self.num_classes:
      raise ValueError('null_class=True needs num_classes >= 1; got 0.')

  @property
  def size(self) -> int:
    """The number of ids."""
    return self.num_known + 1

  @property
  def num_known(self) -> int:
    """The number of ids without the mask, for priors that mask nothing."""
    return self.codebook_size + self.num_labels

  @property
  def num_labels(self) -> int:
    """The number of labels: the classes and the null class."""
    return self.num_classes + self.null_class

  @property
  def mask_id(self) -> int:
    """The id of a masked token."""
    return self.size - 1

  @property
  def null_label(self) -> int:
    """The label that means "no class"; its id is `label_id(null_label)`.

    Raises:
      ValueError: if there is no null class.
    """
    if not self.null_class:
      raise ValueError(
        'this prior was trained without a null class, so it cannot be used '
        'with classifier-free guidance; set guidance to 0.'
      )
    return self.num_classes

  def label_id(self, label: jax.Array) -> jax.Array:
    """Maps labels int32 [...] to ids int32 [...]."""
    return label + self.codebook_size

  def take_over(
    self, other: 'Vocab', theirs: jax.Array, ours: jax.Array
  ) -> jax.Array:
    """Combines two tables: labels of this vocabulary, all else of another.

    This is for fine-tuning on other classes.

    Args:
      other: a vocabulary with the same codebook size.
      theirs: table [other.size, ...], or [other.num_known, ...] without a mask.
      ours: table [size, ...], or [num_known, ...] without a mask.

    Returns:
      a table of the shape of `ours`.
    """
    k = self.codebook_size
    labels = ours[k : self.num_known]
    return jnp.concatenate([theirs[:k], labels, theirs[other.num_known :]])
