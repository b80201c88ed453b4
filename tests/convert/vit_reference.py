"""A NumPy reference of thuanz123/enhancing-transformers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from tests.convert import references


@dataclasses.dataclass(frozen=True)
class Size:
  dim: int = 512
  depth: int = 8
  heads: int = 8
  mlp_dim: int = 2048


@dataclasses.dataclass(frozen=True)
class ViT:
  """The small model by default."""

  encoder: Size = Size()
  decoder: Size = Size()
  patch: int = 8
  embed_dim: int = 32
  n_embed: int = 8192
  final_norm: str = 'transformer.norm'  # 'norm' in an earlier version
  pixels: str = '1'  # 'conv_out' in a later one

  def __call__(self, w, image):
    b, height, width, c = image.shape
    h, s, p = height // self.patch, width // self.patch, self.patch
    name = 'encoder.to_patch_embedding.0'
    kernel = w(f'{name}.weight', self.encoder.dim, c, p, p)
    cells = image.reshape(b, h, p, s, p, c)
    x = jnp.einsum('bhiwjc,dcij->bhwd', cells, kernel)
    x = x.reshape(b, h * s, -1) + _wide(w(f'{name}.bias', self.encoder.dim))
    x = x + w('encoder.en_pos_embedding', 1, h * s, self.encoder.dim)
    x = self.transform(w, 'encoder', self.encoder, x)
    z = _linear(w, 'pre_quant', x, self.embed_dim)
    codes = w('quantizer.embedding.weight', self.n_embed, self.embed_dim)
    unit = references._unit
    indices, chosen = references._nearest(unit(z), unit(codes))
    x = _linear(w, 'post_quant', chosen, self.decoder.dim)
    x = x + w('decoder.de_pos_embedding', 1, h * s, self.decoder.dim)
    x = self.transform(w, 'decoder', self.decoder, x)
    name = f'decoder.to_pixel.{self.pixels}'
    kernel = w(f'{name}.weight', self.decoder.dim, c, p, p)
    x = x.reshape(b, h, s, -1)
    y = jnp.einsum('bhwd,dcij->bhiwjc', x, kernel).reshape(image.shape)
    return {
      'features': z.reshape(b, h, s, -1),
      'indices': indices.reshape(b, h, s),
      'reconstruction': y + jnp.expand_dims(w(f'{name}.bias', c), (0, 1, 2)),
    }

  def transform(self, w, side, size, x):
    for i in range(size.depth):
      layer = f'{side}.transformer.layers.{i}'
      x = x + _attention(
        w, f'{layer}.0.fn', size.heads, _norm(w, f'{layer}.0.norm', x)
      )
      y = _norm(w, f'{layer}.1.norm', x)
      y = jnp.tanh(_linear(w, f'{layer}.1.fn.net.0', y, size.mlp_dim))
      x = x + _linear(w, f'{layer}.1.fn.net.2', y, size.dim)
    return _norm(w, f'{side}.{self.final_norm}', x)

  def with_positions(self, weights, grid):
    """Replaces the random positions by those of a grid."""
    return {
      **weights,
      'encoder.en_pos_embedding': sincos(self.encoder.dim, grid),
      'decoder.de_pos_embedding': sincos(self.decoder.dim, grid),
    }


def _wide(x):
  return jnp.expand_dims(x, (0, 1))


def _linear(w, name, x, out):
  weight, bias = w(f'{name}.weight', out, x.shape[-1]), w(f'{name}.bias', out)
  return x @ weight.T + _wide(bias)


def _norm(w, name, x):
  weight, bias = (w(f'{name}.{n}', x.shape[-1]) for n in ('weight', 'bias'))
  x = x - x.mean(-1, keepdims=True)
  x = x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
  return x * _wide(weight) + _wide(bias)


def _attention(w, name, heads, x):
  b, n, dim = x.shape
  qkv = x @ w(f'{name}.to_qkv.weight', 3 * heads * 64, dim).T
  q, k, v = (
    part.reshape(b, n, heads, 64).transpose(0, 2, 1, 3)
    for part in jnp.split(qkv, 3, -1)
  )
  weights = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) / 8, -1)
  y = (weights @ v).transpose(0, 2, 1, 3).reshape(b, n, heads * 64)
  if heads == 1 and dim == 64:
    return y
  return _linear(w, f'{name}.to_out', y, dim)


def sincos(dim, grid):
  """The fixed position embedding as that code computes it; [1, h * w, dim]."""

  def one(coordinates):
    omega = 1.0 / 10000 ** (np.arange(dim // 4) / (dim / 4.0))
    out = np.outer(coordinates.reshape(-1), omega)
    return np.concatenate([np.sin(out), np.cos(out)], axis=1)

  columns, rows = np.meshgrid(np.arange(grid[1]), np.arange(grid[0]))
  table = np.concatenate([one(columns), one(rows)], axis=1)
  return table[None].astype(np.float32)
