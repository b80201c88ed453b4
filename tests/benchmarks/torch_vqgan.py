"""The small VQGAN of `compare_training_steps` in PyTorch, for its time alone.

Plain torch layers at the sizes, with the losses and in the order of
CompVis/taming-transformers, which itself no longer runs: residual blocks with
group norm and swish, strided and nearest resampling, LPIPS on a VGG16 trunk of
random weights, PatchGAN with batch norm, adaptive weight, two Adams.
"""

import torch
from torch import nn
from torch.nn import functional as F

GROUPS = 8


class Block(nn.Module):
  """A residual block."""

  def __init__(self, inner, outer):
    super().__init__()
    self.norm1 = nn.GroupNorm(GROUPS, inner, eps=1e-6)
    self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
    self.norm2 = nn.GroupNorm(GROUPS, outer, eps=1e-6)
    self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
    self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)

  def forward(self, x):
    y = self.conv1(F.silu(self.norm1(x)))
    return self.skip(x) + self.conv2(F.silu(self.norm2(y)))


class Attention(nn.Module):
  """One head over all positions."""

  def __init__(self, channels):
    super().__init__()
    self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
    self.qkv = nn.Conv2d(channels, 3 * channels, 1)
    self.out = nn.Conv2d(channels, channels, 1)

  def forward(self, x):
    b, c, h, w = x.shape
    q, k, v = self.qkv(self.norm(x)).reshape(b, 3, c, h * w).unbind(1)
    weights = (q.transpose(1, 2) @ k * c**-0.5).softmax(-1)
    return x + self.out((v @ weights.transpose(1, 2)).reshape(x.shape))


class Down(nn.Module):
  """Half the size, padded to the right and at the bottom."""

  def __init__(self, channels):
    super().__init__()
    self.conv = nn.Conv2d(channels, channels, 3, stride=2)

  def forward(self, x):
    return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
  """Twice the size."""

  def __init__(self, channels):
    super().__init__()
    self.conv = nn.Conv2d(channels, channels, 3, padding=1)

  def forward(self, x):
    return self.conv(F.interpolate(x, scale_factor=2.0))


def encoder(channels, multipliers, blocks, z_channels):
  """Image -> features."""
  layers, width = [nn.Conv2d(3, channels, 3, padding=1)], channels
  for i, multiplier in enumerate(multipliers):
    for _ in range(blocks):
      layers.append(Block(width, channels * multiplier))
      width = channels * multiplier
    if i < len(multipliers) - 1:
      layers.append(Down(width))
  layers += [Block(width, width), Attention(width), Block(width, width)]
  layers += [nn.GroupNorm(GROUPS, width, eps=1e-6), nn.SiLU()]
  return nn.Sequential(*layers, nn.Conv2d(width, z_channels, 3, padding=1))


def decoder(channels, multipliers, blocks, z_channels):
  """Features -> image, one block more at each level."""
  width = channels * multipliers[-1]
  layers = [nn.Conv2d(z_channels, width, 3, padding=1)]
  layers += [Block(width, width), Attention(width), Block(width, width)]
  for i, multiplier in reversed(list(enumerate(multipliers))):
    for _ in range(blocks + 1):
      layers.append(Block(width, channels * multiplier))
      width = channels * multiplier
    if i:
      layers.append(Up(width))
  layers += [nn.GroupNorm(GROUPS, width, eps=1e-6), nn.SiLU()]
  return nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))


class VQGAN(nn.Module):
  """Encoder, codebook trained by gradients, and decoder."""

  def __init__(
    self, *, channels, multipliers, blocks, z_channels, codebook_size, code_dim
  ):
    super().__init__()
    size = (channels, multipliers, blocks, z_channels)
    self.encoder, self.decoder = encoder(*size), decoder(*size)
    self.to_code = nn.Conv2d(z_channels, code_dim, 1)
    self.from_code = nn.Conv2d(code_dim, z_channels, 1)
    self.codebook = nn.Parameter(torch.randn(codebook_size, code_dim) * 0.1)

  def forward(self, x):
    z = self.to_code(self.encoder(x)).permute(0, 2, 3, 1)
    flat = z.reshape(-1, z.shape[-1])
    squares = (flat**2).sum(1, keepdim=True) + (self.codebook**2).sum(1)
    nearest = (squares - 2 * flat @ self.codebook.T).argmin(1)
    q = self.codebook[nearest].reshape(z.shape)
    loss = ((q.detach() - z) ** 2).mean() + 0.25 * (
      (q - z.detach()) ** 2
    ).mean()
    q = (z + (q - z).detach()).permute(0, 3, 1, 2)
    return self.decoder(self.from_code(q)), loss


def patchgan(channels, layers):
  """The discriminator."""
  out = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
  width = channels
  for i in range(1, layers + 1):
    wider = channels * min(2**i, 8)
    stride = 2 if i < layers else 1
    out += [
      nn.Conv2d(width, wider, 4, stride, 1, bias=False),
      nn.BatchNorm2d(wider),
      nn.LeakyReLU(0.2),
    ]
    width = wider
  return nn.Sequential(*out, nn.Conv2d(width, 1, 4, 1, 1))


class LPIPS(nn.Module):
  """The perceptual distance, of whatever weights."""

  WIDTHS = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)

  def __init__(self):
    super().__init__()
    inner, stages = 3, []
    for i, widths in enumerate(self.WIDTHS):
      layers = [nn.MaxPool2d(2)] if i else []
      for width in widths:
        layers += [nn.Conv2d(inner, width, 3, padding=1), nn.ReLU()]
        inner = width
      stages.append(nn.Sequential(*layers))
    self.stages = nn.ModuleList(stages)
    self.requires_grad_(False)

  def forward(self, a, b):
    total = 0.0
    for stage in self.stages:
      a, b = stage(a), stage(b)
      unit = [x / (x.norm(dim=1, keepdim=True) + 1e-10) for x in (a, b)]
      total = total + ((unit[0] - unit[1]) ** 2).mean()
    return total


class Trainer:
  """Both players and their optimizers."""

  def __init__(self, model: dict, discriminator: dict, weight: float):
    self.model, self.lpips = VQGAN(**model), LPIPS()
    self.discriminator, self.weight = patchgan(**discriminator), weight
    adam = {'lr': 1e-4, 'betas': (0.5, 0.9)}
    self.optimizer = torch.optim.Adam(self.model.parameters(), **adam)
    self.adversary = torch.optim.Adam(self.discriminator.parameters(), **adam)

  def step(self, image: torch.Tensor) -> float:
    """Trains both on images [B, 3, H, W] in [-1, 1]; returns the loss."""
    made, codebook = self.model(image)
    nll = (image - made).abs().mean() + self.lpips(image, made)
    fooling = -self.discriminator(made).mean()
    last = self.model.decoder[-1].weight
    norms = [
      torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
      for loss in (nll, fooling)
    ]
    adaptive = (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4).detach()
    loss = nll + self.weight * adaptive * fooling + codebook
    self.optimizer.zero_grad()
    loss.backward()
    self.optimizer.step()
    real, fake = (self.discriminator(x) for x in (image, made.detach()))
    discriminator_loss = 0.5 * (
      F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    )
    self.adversary.zero_grad()
    discriminator_loss.backward()
    self.adversary.step()
    return float(loss.detach())
