"""The priors and the ViT of this library in plain PyTorch layers, for time.

They have the sizes, the order of layers, the losses and the optimizer of ours,
scaled dot-product attention, and on a GPU `torch.compile` and bfloat16. They
load no weights.
"""

import contextlib
import math

import torch
from torch import nn
from torch.nn import functional as F

from vq_jax import priors
from vq_jax.layers.transformer import TransformerConfig


def get_device() -> torch.device:
  """Returns the device of PyTorch."""
  return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def use_dtype(dtype: str) -> contextlib.AbstractContextManager:
  """Computes in a dtype, with parameters in float32."""
  if dtype == 'float32':
    return contextlib.nullcontext()
  return torch.autocast(get_device().type, getattr(torch, dtype))


def compile_on_gpu(function, **options):
  """Returns a function, compiled where it is worth it."""
  if get_device().type == 'cpu':
    return function
  return torch.compile(function, **options)


def wait() -> None:
  """Waits for the device."""
  if torch.cuda.is_available():
    torch.cuda.synchronize()


class Block(nn.Module):
  """Attention and MLP, with the norms before or after them."""

  def __init__(self, config: TransformerConfig, causal: bool):
    super().__init__()
    width = config.width
    self.heads, self.causal = config.heads, causal
    self.post, self.rate = config.norm == 'post', config.dropout
    self.norms = nn.ModuleList(
      nn.LayerNorm(width, eps=config.epsilon) for _ in range(2)
    )
    self.qkv = nn.Linear(width, 3 * width)
    self.out = nn.Linear(width, width)
    self.mlp = nn.Sequential(
      nn.Linear(width, config.mlp_width),
      nn.Tanh() if config.activation == 'tanh' else nn.GELU('tanh'),
      nn.Linear(config.mlp_width, width),
    )

  def _split(self, x):
    b, n, _ = x.shape
    return self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)

  def _attend(self, x):
    q, k, v = self._split(x)
    rate = self.rate if self.training else 0.0
    y = F.scaled_dot_product_attention(
      q, k, v, dropout_p=rate, is_causal=self.causal
    )
    return self.out(y.transpose(1, 2).reshape(x.shape))

  def forward(self, x):
    for norm, layer in zip(self.norms, (self._attend, self.mlp), strict=True):
      y = layer(x if self.post else norm(x))
      y = x + F.dropout(y, self.rate, self.training)
      x = norm(y) if self.post else y
    return x

  def step(self, x, cache, position, seen):
    """Applies it to [B, 1, D]; writes key and value into the cache."""
    q, k, v = self._split(self.norms[0](x))
    for old, new in zip(cache, (k, v), strict=True):
      old.index_copy_(2, position, new.to(old.dtype))
    y = F.scaled_dot_product_attention(
      q, cache[0].to(q.dtype), cache[1].to(q.dtype), attn_mask=seen
    )
    x = x + self.out(y.transpose(1, 2).reshape(x.shape))
    return x + self.mlp(self.norms[1](x))


class MaskGIT(nn.Module):
  """A bidirectional transformer with BERT's head and tied embeddings."""

  def __init__(self, ours: priors.MaskGIT):
    super().__init__()
    config, self.vocab = ours.transformer, ours.vocab
    width = config.width
    self.embedding = nn.Embedding(ours.vocab.size, width)
    self.position = nn.Parameter(0.02 * torch.randn(ours.num_tokens + 1, width))
    self.norm_in = nn.LayerNorm(width, eps=config.epsilon)
    self.blocks = nn.Sequential(
      *(Block(config, causal=False) for _ in range(config.layers))
    )
    self.head = nn.Sequential(
      nn.Linear(width, width),
      nn.GELU('tanh'),
      nn.LayerNorm(width, eps=config.epsilon),
    )
    self.bias = nn.Parameter(torch.zeros(ours.vocab.codebook_size))
    self.rate = config.dropout

  def forward(self, tokens, label):
    """Returns the logits [B, N, K]."""
    ids = torch.cat([label[:, None] + self.vocab.codebook_size, tokens], 1)
    x = self.norm_in(self.embedding(ids) + self.position)
    x = self.head(self.blocks(F.dropout(x, self.rate, self.training))[:, 1:])
    return F.linear(x, self.embedding.weight[: len(self.bias)], self.bias)

  def loss(self, tokens, label):
    """Returns the smoothed cross-entropy of the masked tokens."""
    ratio = torch.rand(len(tokens), 1, device=tokens.device)
    masked = torch.rand(tokens.shape, device=tokens.device) < torch.cos(
      math.pi / 2 * ratio
    )
    logits = self(tokens.masked_fill(masked, self.vocab.mask_id), label)
    losses = F.cross_entropy(
      logits.float().transpose(1, 2),
      tokens,
      reduction='none',
      label_smoothing=0.1,
    )
    return ((losses * masked).sum(1) / masked.sum(1).clamp(min=1)).mean()

  @torch.no_grad()
  def sample(self, label, steps: int, logits_of=None):
    """Samples tokens [B, N] in some steps, by confidence."""
    logits_of = logits_of or self
    n = len(self.position) - 1
    shape = (len(label), n)
    tokens = torch.full(shape, self.vocab.mask_id, device=label.device)
    for step in range(steps):
      masked = tokens == self.vocab.mask_id
      p = logits_of(tokens, label).float().softmax(-1)
      new = torch.multinomial(p.flatten(0, 1), 1).view(shape)
      new = torch.where(masked, new, tokens)
      ratio = (step + 1) / steps
      confidence = p.gather(2, new[..., None])[..., 0].log()
      gumbel = -torch.log(-torch.log(torch.rand_like(confidence)))
      confidence = confidence + 4.5 * (1 - ratio) * gumbel
      confidence = confidence.masked_fill(~masked, math.inf)
      number = int(n * math.cos(math.pi / 2 * ratio))
      if number:
        again = confidence.topk(number, largest=False).indices
        new = new.scatter(1, again, self.vocab.mask_id)
      tokens = new
    return tokens


class Autoregressive(nn.Module):
  """A decoder-only transformer over the label and all tokens but the last."""

  def __init__(self, ours: priors.AutoregressiveTransformer):
    super().__init__()
    config, self.vocab = ours.transformer, ours.vocab
    self.embedding = nn.Embedding(ours.vocab.num_known, config.width)
    self.position = nn.Parameter(
      0.02 * torch.randn(ours.num_tokens, config.width)
    )
    self.blocks = nn.ModuleList(
      Block(config, causal=True) for _ in range(config.layers)
    )
    self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
    self.head = nn.Linear(config.width, ours.vocab.codebook_size, bias=False)
    self.rate, self.heads = config.input_dropout, config.heads

  def loss(self, tokens, label):
    """Returns the cross-entropy of all tokens."""
    first = label[:, None] + self.vocab.codebook_size
    ids = torch.cat([first, tokens[:, :-1]], 1)
    x = self.embedding(ids) + self.position
    x = F.dropout(x, self.rate, self.training)
    for block in self.blocks:
      x = block(x)
    logits = self.head(self.norm(x))
    return F.cross_entropy(logits.float().transpose(1, 2), tokens)

  def _step(self, ids, position, caches):
    positions = torch.arange(len(self.position), device=ids.device)
    seen = positions[None] <= position  # [1, N], for one query
    x = (self.embedding(ids) + self.position[position])[:, None]
    for block, cache in zip(self.blocks, caches, strict=True):
      x = block.step(x, cache, position, seen)
    logits = self.head(self.norm(x[:, 0])).float()
    return torch.multinomial(logits.softmax(-1), 1)[:, 0]

  def make_sampler(self, batch: int, dtype: torch.dtype):
    """Returns a function of labels [B] that samples tokens with a cache."""
    width = self.position.shape[1]
    shape = (batch, self.heads, len(self.position), width // self.heads)
    caches = [
      [torch.zeros(shape, dtype=dtype, device=get_device()) for _ in range(2)]
      for _ in self.blocks
    ]
    step = compile_on_gpu(self._step, mode='reduce-overhead')

    @torch.no_grad()
    def sample(label):
      ids, sampled = label + self.vocab.codebook_size, []
      for i in range(len(self.position)):
        position = torch.tensor([i], device=ids.device)
        ids = step(ids, position, caches).clone()
        sampled.append(ids)
      return torch.stack(sampled, 1)

    return sample


class ViTVQGAN(nn.Module):
  """Patches, transformer, normalized codes, transformer, patches."""

  def __init__(self, encoder, decoder, codebook_size, code_dim, image_shape):
    super().__init__()
    h, w, channels = image_shape
    patch = encoder.patch
    n = (h // patch) * (w // patch)
    self.patch = nn.Conv2d(channels, encoder.transformer.width, patch, patch)
    self.unpatch = nn.ConvTranspose2d(
      decoder.head_width or decoder.transformer.width, channels, patch, patch
    )
    for name, side in (('encoder', encoder), ('decoder', decoder)):
      config = side.transformer
      layers = [Block(config, causal=False) for _ in range(config.layers)]
      layers.append(nn.LayerNorm(config.width))
      if side.head_width:
        layers += [nn.Linear(config.width, side.head_width), nn.Tanh()]
      setattr(self, name, nn.Sequential(*layers))
      position = 0.02 * torch.randn(n, config.width)
      self.register_buffer(f'{name}_position', position)
    self.to_code = nn.Linear(
      encoder.head_width or encoder.transformer.width, code_dim
    )
    self.from_code = nn.Linear(code_dim, decoder.transformer.width)
    self.codebook = nn.Parameter(torch.randn(codebook_size, code_dim))

  def loss(self, image):
    """Returns the loss of images [B, C, H, W]."""
    x = self.patch(image)
    shape = x.shape[2:]
    x = x.flatten(2).transpose(1, 2) + self.encoder_position
    z = F.normalize(self.to_code(self.encoder(x)).float(), dim=-1)
    codes = F.normalize(self.codebook, dim=-1)
    with torch.no_grad():
      nearest = (z.flatten(0, 1) @ codes.T).argmax(1)
    q = codes[nearest].view(z.shape)
    quantizer = ((q - z.detach()) ** 2).mean() + 0.25 * (
      (q.detach() - z) ** 2
    ).mean()
    x = self.from_code(z + (q - z).detach()) + self.decoder_position
    x = self.decoder(x).transpose(1, 2).unflatten(2, shape)
    error = self.unpatch(x).float() - image
    return (error**2).mean() + error.abs().mean() + quantizer


class Trainer:
  """Trains a module with a method `loss` by AdamW."""

  def __init__(self, module: nn.Module, dtype: str, *batch: torch.Tensor):
    self._module = module.to(get_device()).train()
    self._batch = [x.to(get_device()) for x in batch]
    self._dtype = dtype
    fused = get_device().type == 'cuda'
    self._optimizer = torch.optim.AdamW(module.parameters(), 1e-4, fused=fused)
    self._loss = compile_on_gpu(self._module.loss)

  def repeat(self, n: int) -> None:
    """Trains n steps, and waits for the last one."""
    for _ in range(n):
      self._optimizer.zero_grad(set_to_none=True)
      with use_dtype(self._dtype):
        loss = self._loss(*self._batch)
      loss.backward()
      self._optimizer.step()
    wait()
