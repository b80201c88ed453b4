"""Gated PixelCNN (van den Oord et al. 2016, section 2)."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import causal_convolution as causal
from vq_jax.layers import checked
from vq_jax.priors import base
from vq_jax.priors import vocab as vocab_lib
from vq_jax.utils import fields


@flax.struct.dataclass
class Cache:
  """What sampling keeps.

  Attributes:
    embedded: the tokens drawn so far, a map; see `causal_convolution`.
    biases: of each layer, what the label adds to the vertical and the
      horizontal gates, [B, 2 C].
    above: of each layer but the first, the vertical features [B, r, w, C] of
      the rows that the next row's windows see.
    link: of each layer, what the vertical stack adds to the horizontal gates in
      this row, [B, w, 2 C].
    left: of each layer but the first, the horizontal features [B, r, C] of the
      pixels that the next pixel's window sees.
  """

  embedded: jax.Array
  biases: list[tuple[jax.Array, jax.Array]]
  above: list[jax.Array]
  link: list[jax.Array]
  left: list[jax.Array]


class PixelCNN(checked.CheckedModule):
  """Predicts every token from those before it, by convolutions.

  A vertical stack sees the rows above, a horizontal stack the pixels to the
  left and, through the vertical one, the rows above: there is no blind spot. A
  class label is a bias inside the gates of every layer.

  VQ-VAE models its codes so (van den Oord et al. 2017, section 4.2). The
  defaults suit a grid of 32 x 32.

  Sampling computes the vertical stack once a row, and of the horizontal stack
  one pixel at a time.

  Attributes:
    vocab: what the ids mean.
    grid: (h, w), N = h * w tokens.
    layers: layers of both stacks.
    channels: width of both stacks.
    first_kernel: side of the first layer's window, odd, at least 3.
    kernel: side of the other layers' windows, odd.
    head_channels: width of the layer before the logits.
    dropout: rate on what the gates let through.
    dtype: dtype of the computation; logits are float32.
    param_dtype: dtype of the parameters.
  """

  vocab: vocab_lib.Vocab
  grid: tuple[int, int]
  layers: fields.PositiveInt = 15
  channels: fields.PositiveInt = 128
  first_kernel: fields.PositiveInt = 7
  kernel: fields.PositiveInt = 3
  head_channels: fields.PositiveInt = 512
  dropout: fields.Fraction = 0.0
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def num_tokens(self) -> int:
    """N, the tokens of one image."""
    return self.grid[0] * self.grid[1]

  def setup(self):
    """Declares the embeddings, the layers of both stacks and the head."""
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    self.embedding = nn.Embed(self.vocab.codebook_size, self.channels, **types)
    self.label_embedding = nn.Embed(
      self.vocab.num_labels, self.channels, **types
    )
    self.stacks = [
      causal.TwoStackLayer(
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
    """Returns the logits of every token, given those before it.

    Args:
      tokens: int32 [B, N], codes.
      label: int32 [B], a class or `vocab.null_label`; needed if the
        vocabulary has classes, None otherwise.
      condition: None; this prior knows no coarser codes.
      train: whether dropout acts, drawing from the stream 'dropout'.

    Returns:
      float32 [B, N, K].

    Raises:
      ValueError: if the tokens are not N, the label is missing or too much, or
        there is a condition.
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
    """Returns the cache before the first token; see `__call__`."""
    h, w = self.grid
    r, d, n = causal.radius_of(self.kernel), self.channels, self.layers

    def zeros(*shape):
      return jnp.zeros((batch_size, *shape), self.dtype)

    return Cache(
      embedded=causal.empty_map(
        batch_size,
        self.grid,
        d,
        causal.radius_of(self.first_kernel),
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
    """Returns the logits of one token.

    Args:
      cache: from `start`, or from the step before.
      previous: int32 [B], the token at position - 1; of no effect at 0.
      position: int32 [], row by row.

    Returns:
      float32 [B, K], and the cache for the next step.
    """
    # Before the first token comes the margin, which stays zero.
    x = self.embedding(previous) * (position > 0)
    radius = causal.radius_of(self.first_kernel)
    cache = cache.replace(
      embedded=causal.write_pixel(cache.embedded, x, position - 1, radius)
    )
    column = position % self.grid[1]
    above, link, left = nn.cond(
      column == 0,
      lambda self, cache: self._start_row(cache, position),
      lambda self, cache: (cache.above, cache.link, cache.left),
      self,
      cache,
    )
    window = causal.read_window(cache.embedded, position, radius)
    x, keep = window[:, -1, :radius], []
    for i, layer in enumerate(self.stacks):
      if i:
        x = jnp.concatenate([left[i - 1], x[:, None]], axis=1)
        keep.append(x[:, 1:])
      x = layer.pixel(
        x, jax.lax.dynamic_index_in_dim(link[i], column, 1, keepdims=False)
      )
    return self._head(x), cache.replace(above=above, link=link, left=keep)

  def _start_row(self, cache, position):
    """Returns `above`, `link` and `left` as a row begins."""
    radius = causal.radius_of(self.first_kernel)
    x = causal.read_rows(cache.embedded, position, radius)[:, :-1]
    above, links = [], []
    for i, layer in enumerate(self.stacks):
      if i:
        x = jnp.concatenate([cache.above[i - 1], x[:, None]], axis=1)
        above.append(x[:, 1:])
      x, link = layer.row(x, cache.biases[i])
      links.append(link)
    return above, links, jax.tree.map(jnp.zeros_like, cache.left)

  def _biases(self, batch_size, label, condition):
    """Returns what the label adds to the gates of each layer."""
    base.check_label(label, self.vocab)
    base.check_condition(condition, None)
    embedded = None if label is None else self.label_embedding(label)
    return [layer.biases(batch_size, embedded) for layer in self.stacks]

  def _head(self, x):
    x = nn.relu(self.hidden(nn.relu(x)))
    return self.logits(x).astype(jnp.float32)
