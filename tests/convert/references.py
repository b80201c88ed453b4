"""NumPy references of the released models.

Each function takes `w`, which gives an array for a released name and shape:
the names and shapes of a model are those that its function asks for. Images
are [B, H, W, C] outside, and [B, C, H, W] inside where PyTorch's are.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class RandomWeights(dict):
  """Random weights, which are created when they are first read."""

  def __init__(self, seed=0):
    super().__init__()
    self.rng = np.random.default_rng(seed)

  def __call__(self, name, *shape):
    if name not in self:
      x = self.rng.normal(size=shape).astype(np.float32)
      if 'norm' in name.lower() and name.endswith(('weight', 'scale')):
        x = 1 + 0.3 * x
      elif name.endswith('bias'):
        x = 0.2 * x
      elif name.endswith('kernel'):
        x /= np.sqrt(np.prod(shape[:-1]))
      elif not ('embedding.weight' in name or 'codebook' in name):
        x /= np.sqrt(np.prod(shape[1:]))
      self[name] = x
    assert self[name].shape == shape, (name, self[name].shape, shape)
    return jnp.asarray(self[name])


class Shapes(dict):
  """Zeros for `jax.eval_shape`; records the names that are read."""

  def __call__(self, name, *shape):
    assert self.setdefault(name, shape) == shape
    return jnp.zeros(shape)


def get_shapes(model, image=(1, 16, 16, 3)) -> dict[str, tuple[int, ...]]:
  """Returns the names and shapes of a model without computing it."""
  found = Shapes()
  jax.eval_shape(lambda x: model(found, x), jnp.zeros(image))
  return dict(found)


def compute(model, weights, image) -> dict[str, np.ndarray]:
  """Returns the outputs of a model; it must use all of the weights."""
  w = RandomWeights()
  w.update(weights)
  found = jax.tree.map(np.asarray, jax.jit(lambda x: model(w, x))(image))
  assert w.keys() == weights.keys()
  return found


def make(model, image, seed=0) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Returns random weights of a model, and its outputs with them."""
  w = RandomWeights(seed)
  for name, shape in get_shapes(model, image.shape).items():
    w(name, *shape)
  return dict(w), compute(model, dict(w), image)


def _swish(x):
  return x / (1 + jnp.exp(-x))


def _unit(x):
  return x / jnp.sqrt((x**2).sum(-1, keepdims=True))


def _nearest(z, codes):
  """z [..., D], codes [K, D] -> (indices [...], codes [..., D])."""
  far = (
    z[..., None, :] - jnp.expand_dims(codes, tuple(range(z.ndim - 1)))
  ) ** 2
  indices = far.sum(-1).argmin(-1)
  return indices, codes[indices]


# --- CompVis/taming-transformers and FoundationVision/LlamaGen ---------------


@dataclasses.dataclass(frozen=True)
class Taming:
  """The f16 model by default."""

  ch: int = 128
  ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
  num_res_blocks: int = 2
  attention: tuple[int, ...] = (4,)  # levels
  z_channels: int = 256
  embed_dim: int = 256
  n_embed: int = 16384
  llamagen: bool = False

  def __call__(self, w, image):
    x = _encode(self, w, 2 * image.transpose(0, 3, 1, 2) - 1)
    z = _conv(w, 'quant_conv', x, self.embed_dim, 1).transpose(0, 2, 3, 1)
    codes = w('quantize.embedding.weight', self.n_embed, self.embed_dim)
    if self.llamagen:
      w('quantize.codebook_used', 65536)
      indices, chosen = _nearest(_unit(z), _unit(codes))
    else:
      indices, chosen = _nearest(z, codes)
    chosen = chosen.transpose(0, 3, 1, 2)
    y = _decode(
      self, w, _conv(w, 'post_quant_conv', chosen, self.z_channels, 1)
    )
    return {
      'features': z,
      'indices': indices,
      'reconstruction': (y.transpose(0, 2, 3, 1) + 1) / 2,
    }

  def level(self, side, i):
    if not self.llamagen:
      return f'encoder.down.{i}' if side == 'encoder' else f'decoder.up.{i}'
    i = i if side == 'encoder' else len(self.ch_mult) - 1 - i
    return f'{side}.conv_blocks.{i}'


def _conv(w, name, x, out, kernel=3, stride=1, padding=None):
  weight = w(f'{name}.weight', out, x.shape[1], kernel, kernel)
  bias = w(f'{name}.bias', out)
  padding = padding or [(kernel // 2, kernel // 2)] * 2
  y = jax.lax.conv_general_dilated(x, weight, (stride, stride), padding)
  return y + jnp.expand_dims(bias, (0, 2, 3))


def _norm(w, name, x):
  grouped = x.reshape(len(x), 32, -1)
  grouped -= grouped.mean(-1, keepdims=True)
  grouped /= jnp.sqrt((grouped**2).mean(-1, keepdims=True) + 1e-6)
  scale, bias = (w(f'{name}.{n}', x.shape[1]) for n in ('weight', 'bias'))
  scale, bias = (jnp.expand_dims(p, (0, 2, 3)) for p in (scale, bias))
  return grouped.reshape(x.shape) * scale + bias


def _block(w, name, x, out):
  y = _conv(w, f'{name}.conv1', _swish(_norm(w, f'{name}.norm1', x)), out)
  y = _conv(w, f'{name}.conv2', _swish(_norm(w, f'{name}.norm2', y)), out)
  if x.shape[1] != out:
    x = _conv(w, f'{name}.nin_shortcut', x, out, 1)
  return x + y


def _attention(w, name, x):
  b, c, height, width = x.shape
  y = _norm(w, f'{name}.norm', x)
  q, k, v = (
    _conv(w, f'{name}.{n}', y, c, 1).reshape(b, c, -1) for n in ('q', 'k', 'v')
  )
  weights = jax.nn.softmax(jnp.einsum('bci,bcj->bij', q, k) / c**0.5, axis=-1)
  y = jnp.einsum('bij,bcj->bci', weights, v).reshape(b, c, height, width)
  return x + _conv(w, f'{name}.proj_out', y, c, 1)


def _level(m, w, side, i, blocks, x):
  name, part = m.level(side, i), 'res' if m.llamagen else 'block'
  for j in range(blocks):
    x = _block(w, f'{name}.{part}.{j}', x, m.ch * m.ch_mult[i])
    if i in m.attention:
      x = _attention(w, f'{name}.attn.{j}', x)
  return x


def _mid(m, w, side, x):
  first, attention, last = (
    ('0', '1', '2') if m.llamagen else ('block_1', 'attn_1', 'block_2')
  )
  x = _block(w, f'{side}.mid.{first}', x, x.shape[1])
  x = _attention(w, f'{side}.mid.{attention}', x)
  return _block(w, f'{side}.mid.{last}', x, x.shape[1])


def _encode(m, w, x):
  x = _conv(w, 'encoder.conv_in', x, m.ch)
  for i in range(len(m.ch_mult)):
    x = _level(m, w, 'encoder', i, m.num_res_blocks, x)
    if i < len(m.ch_mult) - 1:
      name = f'{m.level("encoder", i)}.downsample.conv'
      x = _conv(w, name, x, x.shape[1], 3, 2, [(0, 1)] * 2)
  x = _swish(_norm(w, 'encoder.norm_out', _mid(m, w, 'encoder', x)))
  return _conv(w, 'encoder.conv_out', x, m.z_channels)


def _decode(m, w, x):
  x = _conv(w, 'decoder.conv_in', x, m.ch * m.ch_mult[-1])
  x = _mid(m, w, 'decoder', x)
  for i in reversed(range(len(m.ch_mult))):
    x = _level(m, w, 'decoder', i, m.num_res_blocks + 1, x)
    if i:
      x = x.repeat(2, 2).repeat(2, 3)
      x = _conv(w, f'{m.level("decoder", i)}.upsample.conv', x, x.shape[1])
  x = _swish(_norm(w, 'decoder.norm_out', x))
  return _conv(w, 'decoder.conv_out', x, 3)


# --- google-research/maskgit -------------------------------------------------


@dataclasses.dataclass(frozen=True)
class MaskGIT:
  filters: int = 128
  multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
  num_res_blocks: int = 2
  embedding_dim: int = 256
  codebook_size: int = 1024

  def __call__(self, w, image):
    levels, count = len(self.multipliers), 0

    def blocks(side, x, level):
      nonlocal count
      for _ in range(self.num_res_blocks):
        out = self.filters * self.multipliers[level]
        x, count = _slip_block(w, f'{side}/ResBlock_{count}', x, out), count + 1
      return x

    x = _flax_conv(w, 'encoder/Conv_0', image, self.filters, bias=False)
    for i in range(levels):
      x = blocks('encoder', x, i)
      if i < levels - 1:
        b, height, width, c = x.shape
        x = x.reshape(b, height // 2, 2, width // 2, 2, c).mean((2, 4))
    x = _swish(_flax_norm(w, 'encoder/GroupNorm_0', blocks('encoder', x, -1)))
    z = _flax_conv(w, 'encoder/Conv_1', x, self.embedding_dim, 1)
    codes = w('quantizer/codebook', self.codebook_size, self.embedding_dim)
    indices, x = _nearest(z, codes)
    count = 0
    x = _flax_conv(w, 'decoder/Conv_0', x, self.filters * self.multipliers[-1])
    x = blocks('decoder', x, -1)
    for i in reversed(range(levels)):
      x = blocks('decoder', x, i)
      if i:
        x = x.repeat(2, 1).repeat(2, 2)
        x = _flax_conv(w, f'decoder/Conv_{levels - i}', x, x.shape[-1])
    x = _swish(_flax_norm(w, 'decoder/GroupNorm_0', x))
    y = _flax_conv(w, f'decoder/Conv_{levels}', x, 3)
    return {'features': z, 'indices': indices, 'reconstruction': y}


def _flax_conv(w, name, x, out, kernel=3, *, bias=True):
  weight = w(f'{name}/kernel', kernel, kernel, x.shape[-1], out)
  y = jax.lax.conv_general_dilated(
    x, weight, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )
  return y + jnp.expand_dims(w(f'{name}/bias', out), (0, 1, 2)) if bias else y


def _flax_norm(w, name, x):
  names = {'weight': 'scale', 'bias': 'bias'}

  def renamed(full, *shape):
    head, _, leaf = full.rpartition('.')
    return w(f'{head}/{names[leaf]}', *shape)

  return _norm(renamed, name, x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)


def _slip_block(w, name, x, out):
  residual = y = x
  for i in range(2):
    y = _swish(_flax_norm(w, f'{name}/GroupNorm_{i}', y))
    y = _flax_conv(w, f'{name}/Conv_{i}', y, out, bias=False)
  if x.shape[-1] != out:
    residual = _flax_conv(w, f'{name}/Conv_2', y, out, 1, bias=False)
  return residual + y
