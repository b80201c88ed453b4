"""Images and texts in one space, by a classifier and the names of its classes.

This is a substitute for CLIP where no weights of CLIP are at hand.
"""

import json
import os
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.features import efficientnet
from vq_jax.features import loading
from vq_jax.features import minilm
from vq_jax.features import released
from vq_jax.layers import normalization
from vq_jax.utils import fields

_TEMPERATURE = 2.0
# The sentence whose embedding stands for a class.
_SENTENCE = 'a photo of a {}'


class ClassifierText(nn.Module):
  """Embeds images in the space of a text encoder: ConSE.

  The embedding of an image is the mean of the embeddings of the class names,
  weighted by the probabilities of the classes (ConSE, Norouzi et al. 2013,
  https://arxiv.org/abs/1312.5650),

    e = normalize(sum_k softmax(logits / temperature)_k c_k).

  Unlike CLIP, it was not trained on pairs of images and texts. It tells apart
  only what mixtures of the classes can express: objects, but neither style nor
  colour, number or position. Where the classifier is certain, its probabilities
  hardly change and gradients vanish; a higher temperature helps then.

  Attributes:
    classifier: image [B, H, W, 3] in [0, 1] -> logits [B, K] and features.
    embedding_dim: D, the width of the embeddings.
    temperature: divides the logits.

  Example:
    >>> import jax
    >>> from vq_jax import features
    >>> module = features.ClassifierText(
    ...   features.EfficientNetLite(width=0.1, depth=0.1, size=32),
    ...   embedding_dim=8,
    ... )
    >>> embedding, variables = module.init_with_output(
    ...   jax.random.key(0), jax.numpy.ones((1, 32, 32, 3)),
    ...   method=module.encode_image,
    ... )
    >>> embedding.shape, variables['params']['class_embeddings'].shape
    ((1, 8), (1000, 8))
  """

  classifier: nn.Module
  embedding_dim: fields.PositiveInt = 384
  temperature: fields.PositiveFloat = 1.0

  @nn.compact
  def encode_image(self, image: jax.Array) -> jax.Array:
    """Embeds images.

    Args:
      image: float [B, H, W, 3 or 1] in [0, 1], of any size.

    Returns:
      float32 [B, D], of unit length.
    """
    logits, _ = self.classifier(image)
    embeddings = self.param(
      'class_embeddings',
      nn.initializers.normal(1.0),
      (logits.shape[-1], self.embedding_dim),
      jnp.float32,
    )
    probabilities = nn.softmax(logits / self.temperature)
    return normalization.l2_normalize(probabilities @ embeddings)


def load_classifier_text(
  name: str = 'efficientnet_lite0',
) -> tuple[
  ClassifierText, dict[str, Any], Callable[[Sequence[str]], np.ndarray]
]:
  """Loads EfficientNet-Lite and all-MiniLM-L6-v2 as encoders of one space.

  The mean embedding of all classes is subtracted from the embeddings of the
  classes and of texts, because the classifier spreads a part of its
  probability over all classes. Of six pictures of scikit-image and
  scikit-learn, five are then nearest to the right one of six captions, and one
  or two without it; a portrait of an astronaut is taken for a rocket launch.
  The temperature is 2: after 40 steps of Adam from noise towards 'a castle',
  the cosine of Lite0 was 0.48, and 0.19 with a temperature of 1.

  Args:
    name: 'efficientnet_lite0' or 'efficientnet_lite2'.

  Returns:
    the module; its variables; and a function from n texts to embeddings,
    float32 [n, 384] of unit length. The cosine of an image and a text is the
    product of their embeddings.

  Raises:
    MissingWeights: if weights were not found; the message says how to get them.
    ValueError: if the name is unknown, a checksum is wrong, or the library
      `tokenizers` is not installed.
  """
  if name not in efficientnet.NETWORKS:
    raise ValueError(
      f'the classifier must be one of {", ".join(efficientnet.NETWORKS)}; got '
      f'{name!r}.'
    )
  classifier, variables = loading.load(name)
  encode_sentences = minilm.load_minilm()
  classes = encode_sentences([_SENTENCE.format(x) for x in class_names()])
  mean = classes.mean(axis=0)

  def encode_texts(texts: Sequence[str]) -> np.ndarray:
    return np.asarray(
      normalization.l2_normalize(encode_sentences(texts) - mean)
    )

  params = {
    'classifier': variables['params'],
    'class_embeddings': jnp.asarray(classes - mean),
  }
  module = ClassifierText(classifier, temperature=_TEMPERATURE)
  return module, {'params': params}, encode_texts


def class_names(path: str | os.PathLike | None = None) -> tuple[str, ...]:
  """Returns the names of the 1,000 classes of ImageNet, in their order.

  Args:
    path: the file; by default see `released.find`.

  Raises:
    MissingWeights: if there is no such file; the message says how to get it.
    OSError: if `path` cannot be read.
    ValueError: if the checksum of the file is wrong.
  """
  with released.find('imagenet_class_names', path).open() as file:
    return tuple(json.load(file))
