"""NumPy references of the released priors.

As in `references`: each takes `w`, which gives an array for a released name and
shape. Tokens are [B, N], and logits [B, N, K].
"""

import dataclasses
import math

import jax
import jax.numpy as jnp


def _layer_norm(x, scale, bias, epsilon):
  x = x - x.mean(-1, keepdims=True)
  x /= jnp.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
  return x * _wide(scale, x) + _wide(bias, x)


def _wide(vector, x):
  return jnp.expand_dims(vector, tuple(range(x.ndim - 1)))


def _attend(q, k, v, seen):
  """[B, N, heads, d] each; bool [N, N] -> [B, N, heads, d]."""
  logits = jnp.einsum('bqhd,bkhd->bhqk', q, k) / math.sqrt(q.shape[-1])
  logits = jnp.where(jnp.expand_dims(seen, (0, 1)), logits, -jnp.inf)
  return jnp.einsum('bhqk,bkhd->bqhd', jax.nn.softmax(logits), v)


@dataclasses.dataclass(frozen=True)
class MaskGIT:
  """google-research/maskgit's transformer; -1 is the mask."""

  layers: int = 24
  width: int = 768
  heads: int = 16
  mlp: int = 3072
  codes: int = 1024
  classes: int = 1000

  def __call__(self, w, tokens, labels):
    n, d = tokens.shape[1], self.width
    front = bool(self.classes)

    def norm(name, x):
      scale, bias = w(f'{name}/scale', d), w(f'{name}/bias', d)
      return _layer_norm(x, scale, bias, 1e-12)

    def dense(name, x, out):
      kernel = w(f'{name}/kernel', x.shape[-1], out)
      return x @ kernel + _wide(w(f'{name}/bias', out), x)

    table = w(
      'Embed_0/word_embeddings/embedding', self.codes + self.classes + 1, d
    )
    if front:
      tokens = jnp.concatenate([self.codes + labels[:, None], tokens], axis=1)
    positions = w('Embed_0/position_embeddings/embedding', n + front, d)
    x = norm('Embed_0/embeddings_ln', table[tokens] + positions[None])
    for i in range(self.layers):
      at = f'TransformerLayer_{i}'
      attention = f'{at}/Attention_0/self_attention'
      shape = (self.heads, d // self.heads)
      q, k, v = (
        jnp.einsum('bnd,dhe->bnhe', x, w(f'{attention}/{m}/kernel', d, *shape))
        + jnp.expand_dims(w(f'{attention}/{m}/bias', *shape), (0, 1))
        for m in ('query', 'key', 'value')
      )
      y = _attend(q, k, v, jnp.ones((n + front,) * 2, bool))
      y = jnp.einsum(
        'bnhe,hed->bnd', y, w(f'{attention}/out/kernel', *shape, d)
      )
      y += _wide(w(f'{attention}/out/bias', d), y)
      x = norm(f'{at}/Attention_0/attention_output_ln', x + y)
      mlp = f'{at}/Mlp_0'
      y = jax.nn.gelu(dense(f'{mlp}/intermediate_output', x, self.mlp))
      x = norm(f'{mlp}/layer_output_ln', x + dense(f'{mlp}/layer_output', y, d))
    x = norm(
      'MlmLayer_0/mlm_ln', jax.nn.gelu(dense('MlmLayer_0/mlm_dense', x, d))
    )
    logits = x @ table.T + _wide(w('MlmLayer_0/mlm_bias/bias', len(table)), x)
    return logits[:, front:, : self.codes]


@dataclasses.dataclass(frozen=True)
class TamingGPT:
  """CompVis/taming-transformers' GPT; `front` is the token before others."""

  layers: int
  width: int
  heads: int
  vocab: int
  block_size: int

  def __call__(self, w, tokens, front):
    d, n = self.width, tokens.shape[1]

    def norm(name, x):
      weight, bias = w(f'{name}.weight', d), w(f'{name}.bias', d)
      return _layer_norm(x, weight, bias, 1e-5)

    def dense(name, x, out):
      weight = w(f'{name}.weight', out, x.shape[-1])
      return x @ weight.T + _wide(w(f'{name}.bias', out), x)

    def heads(x):
      return x.reshape(len(x), n, self.heads, -1)

    table = w('transformer.tok_emb.weight', self.vocab, d)
    sequence = jnp.concatenate([front[:, None], tokens[:, :-1]], axis=1)
    positions = w('transformer.pos_emb', 1, self.block_size, d)[:, :n]
    x = table[sequence] + positions
    for i in range(self.layers):
      at = f'transformer.blocks.{i}'
      w(f'{at}.attn.mask', 1, 1, self.block_size, self.block_size)
      y = norm(f'{at}.ln1', x)
      q, k, v = (
        heads(dense(f'{at}.attn.{m}', y, d)) for m in ('query', 'key', 'value')
      )
      y = _attend(q, k, v, jnp.tri(n, dtype=bool)).reshape(x.shape)
      x += dense(f'{at}.attn.proj', y, d)
      y = dense(f'{at}.mlp.0', norm(f'{at}.ln2', x), 4 * d)
      x += dense(f'{at}.mlp.2', jax.nn.gelu(y, approximate=False), d)
    return (
      norm('transformer.ln_f', x)
      @ w('transformer.head.weight', self.vocab, d).T
    )


@dataclasses.dataclass(frozen=True)
class Halton:
  """valeoai/Halton-MaskGIT's transformer; a label `classes` is none of them."""

  layers: int
  width: int
  heads: int
  head_dim: int
  mlp: int
  codes: int
  classes: int
  registers: int = 1

  def __call__(self, w, tokens, labels):
    d, n = self.width, tokens.shape[1]

    def unit(x):
      return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)

    def dense(name, x, out, bias=False):
      y = x @ w(f'{name}.weight', out, x.shape[-1]).T
      return y + _wide(w(f'{name}.bias', out), y) if bias else y

    def moved(x, shift, scale):
      return x * (1 + scale[:, None]) + shift[:, None]

    table = w('tok_emb.weight', self.codes + 1, d)
    c = jax.nn.silu(w('cls_emb.weight', self.classes + 1, d)[labels])
    x = table[tokens] + w('pos_emb.weight', n, d)[None]
    if self.registers:
      own = w('reg_tokens.weight', self.registers, d)
      x = jnp.concatenate([x, jnp.tile(own[None], (len(x), 1, 1))], axis=1)
    total = x.shape[1]
    for i in range(self.layers):
      at = f'transformer.layers.{i}'
      parts = jnp.split(dense(f'{at}.mlp.1', c, 6 * d, bias=True), 6, axis=1)
      y = moved(unit(x) * _wide(w(f'{at}.ln1.weight', d), x), *parts[:2])
      q, k, v = (
        dense(f'{at}.attn.{m}', y, self.heads * self.head_dim)
        for m in ('wq', 'wk', 'wv')
      )
      q, k, v = (
        a.reshape(len(x), total, self.heads, -1) for a in (unit(q), unit(k), v)
      )
      y = _attend(q, k, v, jnp.ones((total, total), bool))
      y = dense(f'{at}.attn.wo', y.reshape(len(x), total, -1), d)
      x += parts[2][:, None] * y
      y = moved(unit(x) * _wide(w(f'{at}.ln2.weight', d), x), *parts[3:5])
      y = jax.nn.silu(dense(f'{at}.ff.w1', y, self.mlp)) * dense(
        f'{at}.ff.w3', y, self.mlp
      )
      x += parts[5][:, None] * dense(f'{at}.ff.w2', y, d)
    x = x[:, :n]
    norm = 'last_norm.norm_final'
    x = unit(x) * _wide(w(f'{norm}.weight', d), x) + _wide(
      w(f'{norm}.bias', d), x
    )
    parts = jnp.split(dense('last_norm.mlp.1', c, 2 * d, bias=True), 2, axis=1)
    x = moved(x, *parts)
    return x @ table.T + _wide(w('head.bias', self.codes + 1), x)
