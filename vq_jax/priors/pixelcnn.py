"""Gated PixelCNN, a convolutional autoregressive prior."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import causal_convolution
from vq_jax.layers import gated_pixelcnn
from vq_jax.priors import base
from vq_jax.utils import fields
from vq_jax.utils.dtypes import Dtypes


@flax.struct.dataclass
class Cache:
  """The state of sampling between two steps.

  Attributes:
    embedded: feature map of the tokens sampled so far; see
      `causal_convolution`.
    biases: for each layer, the biases of the vertical and the horizontal gates
      that depend on the label, [B, 2 C] each.
    above: for each layer but the first, the vertical features [B, r, w, C] of
      the rows inside the windows of the next row.
    link: for each layer, the contribution of the vertical stack to the
      horizontal gates of this row, [B, w, 2 C].
    left: for each layer but the first, the horizontal features [B, r, C] of the
      pixels inside the window of the next pixel.
  """

  embedded: jax.Array
  biases: list[tuple[jax.Array, jax.Array]]
  above: list[jax.Array]
  link: list[jax.Array]
  left: list[jax.Array]


class PixelCNN(base.Prior):
  """Gated PixelCNN over tokens in raster order.

  Models p(tokens) = prod_i p(token_i | token_<i) by convolutions: van den Oord
  et al. 2016, section 2 (https://arxiv.org/abs/1606.05328). The vertical stack
  reads the rows above a pixel; the horizontal stack reads the pixels to its
  left and the output of the vertical stack, so that there is no blind spot. The
  class label is a bias of the gates in every layer.

  It is the prior of VQ-VAE (https://arxiv.org/abs/1711.00937, section 4.2). The
  defaults are for grids of 32 x 32.

  In cached sampling the vertical stack is computed once per row, the horizontal
  stack once per pixel.

  Attributes:
    vocab: the meaning of the token ids.
    grid: (h, w), N = h * w tokens.
    layers: layers of both stacks.
    channels: C, width of both stacks.
    first_kernel: kernel size of the first layer, odd, at least 3.
    kernel: kernel size of the other layers, odd.
    head_channels: width of the hidden layer before the logits.
    dropout: rate on the outputs of the gates.
    dtype: dtype of the computation; logits are float32.
    param_dtype: dtype of the parameters.

  Example:
    >>> import jax
    >>> from vq_jax import priors
    >>> prior = priors.PixelCNN(
    ...   vocab=priors.Vocab(codebook_size=16),
    ...   grid=(2, 3),
    ...   layers=1,
    ...   channels=4,
    ... )
    >>> tokens = jax.numpy.zeros((1, 6), int)
    >>> logits, _ = prior.init_with_output(jax.random.key(0), tokens)
    >>> logits.shape
    (1, 6, 16)
  """

  causal: ClassVar[bool] = True

  layers: fields.PositiveInt = 15
  channels: fields.PositiveInt = 128
  first_kernel: fields.PositiveInt = 7
  kernel: fields.PositiveInt = 3
  head_channels: fields.PositiveInt = 512
  dropout: fields.Fraction = 0.0
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  def setup(self):
    """Declares the embeddings, the layers of both stacks and the head."""
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    self.embedding = nn.Embed(self.vocab.codebook_size, self.channels, **types)
    self.label_embedding = nn.Embed(
      self.vocab.num_labels, self.channels, **types
    )
    self.stacks = [
      gated_pixelcnn.TwoStackLayer(
        self.channels,
        self.kernel if i else self.first_kernel,
        first=not i,
        dropout=self.dropout,
        **types,
      )
      for i in range(self.layers)
    ]
    self.hidden = nn.Dense(self.head_channels, **types)
    self.logits = nn.Dense(self.vocab.codebook_size, **types)

  def __call__(
    self,
    tokens: jax.Array,
    *,
    label: jax.Array | None = None,
    condition: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Returns the logits of each token, given the tokens before it.

    Args:
      tokens: int32 [B, N], codebook indices.
      label: int32 [B], a class or `vocab.null_label`; needed if the
        vocabulary has classes, None otherwise.
      condition: None; this prior has no parent level.
      train: whether dropout is active; it uses the stream 'dropout'.

    Returns:
      float32 [B, N, K].

    Raises:
      ValueError: if the tokens are not [B, N], if the label is missing or not
        expected, or if there is a condition.
    """
    base.check_tokens(tokens, self.grid)
    biases = self._biases(len(tokens), label, condition)
    x = self.embedding(tokens).reshape(-1, *self.grid, self.channels)
    vertical = horizontal = x
    for layer, bias in zip(self.stacks, biases, strict=True):
      vertical, horizontal = layer(vertical, horizontal, bias, train=train)
    return self._head(horizontal.reshape(*tokens.shape, self.channels))

  def start(
    self,
    batch_size: int,
    *,
    label: jax.Array | None = None,
    condition: jax.Array | None = None,
  ) -> Cache:
    """Returns the cache before the first step.

    Args:
      batch_size: B.
      label: see `__call__`.
      condition: see `__call__`.
    """
    h, w = self.grid
    r, d, n = (
      causal_convolution.window_radius(self.kernel),
      self.channels,
      self.layers,
    )

    def zeros(*shape):
      return jnp.zeros((batch_size, *shape), self.dtype)

    return Cache(
      embedded=causal_convolution.empty_map(
        batch_size,
        self.grid,
        d,
        causal_convolution.window_radius(self.first_kernel),
        self.dtype,
      ),
      biases=self._biases(batch_size, label, condition),
      above=[zeros(r, w, d) for _ in range(n - 1)],
      link=[zeros(w, 2 * d) for _ in range(n)],
      left=[zeros(r, d) for _ in range(n - 1)],
    )

  def step(
    self, cache: Cache, previous: jax.Array, position: jax.Array
  ) -> tuple[jax.Array, Cache]:
    """Returns the logits of one token, and the cache for the next step.

    Args:
      cache: the result of `start` or of the step before.
      previous: int32 [B], the token at `position - 1`; ignored at position 0.
      position: int32 [], 0 in the first step and one more in each step.

    Returns:
      float32 [B, K], and the updated cache.
    """
    # At position 0 this writes zeros into the margin.
    x = self.embedding(previous) * (position > 0)
    radius = causal_convolution.window_radius(self.first_kernel)
    cache = dataclasses.replace(
      cache,
      embedded=causal_convolution.write_pixel(
        cache.embedded, x, position - 1, radius
      ),
    )
    column = position % self.grid[1]
    above, link, left = nn.cond(
      column == 0,
      lambda self, cache: self._start_row(cache, position),
      lambda self, cache: (cache.above, cache.link, cache.left),
      self,
      cache,
    )
    window = causal_convolution.read_window(cache.embedded, position, radius)
    x, new_left = window[:, -1, :radius], []
    for i, layer in enumerate(self.stacks):
      if i:
        x = jnp.concatenate([left[i - 1], x[:, None]], axis=1)
        new_left.append(x[:, 1:])
      x = layer.pixel(
        x, jax.lax.dynamic_index_in_dim(link[i], column, 1, keepdims=False)
      )
    return self._head(x), dataclasses.replace(
      cache, above=above, link=link, left=new_left
    )

  def _start_row(self, cache, position):
    """Returns `above`, `link` and `left` at the start of a row."""
    radius = causal_convolution.window_radius(self.first_kernel)
    x = causal_convolution.read_rows(cache.embedded, position, radius)[:, :-1]
    above, links = [], []
    for i, layer in enumerate(self.stacks):
      if i:
        x = jnp.concatenate([cache.above[i - 1], x[:, None]], axis=1)
        above.append(x[:, 1:])
      x, link = layer.row(x, cache.biases[i])
      links.append(link)
    return above, links, jax.tree.map(jnp.zeros_like, cache.left)

  def _biases(self, batch_size, label, condition):
    """Returns the biases of the gates of each layer."""
    base.check_label(label, self.vocab)
    base.check_condition(condition, None)
    embedded = None if label is None else self.label_embedding(label)
    return [layer.biases(batch_size, embedded) for layer in self.stacks]

  def _head(self, x):
    x = nn.relu(self.hidden(nn.relu(x)))
    return self.logits(x).astype(jnp.float32)
