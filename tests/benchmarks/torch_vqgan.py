"""A VQGAN and its training step in PyTorch, for their time alone.

Plain torch layers at the sizes, with the losses and in the order of
CompVis/taming-transformers, which itself no longer runs: residual blocks with
group norm and swish, strided and nearest resampling, LPIPS on a VGG16 trunk of
random weights, PatchGAN with batch norm, adaptive weight, two Adams.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tests.benchmarks.speed import torch_models


class Block(nn.Module):
  """A residual block."""

  def __init__(self, inner, outer, groups):
    super().__init__()
    self.norm1 = nn.GroupNorm(groups, inner, eps=1e-6)
    self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
    self.norm2 = nn.GroupNorm(groups, outer, eps=1e-6)
    self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
    self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)

  def forward(self, x):
    y = self.conv1(F.silu(self.norm1(x)))
    return self.skip(x) + self.conv2(F.silu(self.norm2(y)))


class Attention(nn.Module):
  """One head over all positions."""

  def __init__(self, channels, groups):
    super().__init__()
    self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
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


def level(width, outer, blocks, groups, attention):
  """The blocks of a resolution, each followed by attention if there is any."""
  layers = []
  for _ in range(blocks):
    layers.append(Block(width, outer, groups))
    width = outer
    if attention:
      layers.append(Attention(width, groups))
  return layers


def middle(width, groups):
  """The layers at the lowest resolution."""
  return [
    Block(width, width, groups),
    Attention(width, groups),
    Block(width, width, groups),
  ]


def encoder(channels, multipliers, blocks, z_channels, groups, attention):
  """Image -> features."""
  layers, width = [nn.Conv2d(3, channels, 3, padding=1)], channels
  last = len(multipliers) - 1
  for i, multiplier in enumerate(multipliers):
    outer = channels * multiplier
    layers += level(width, outer, blocks, groups, attention and i == last)
    width = outer
    if i < last:
      layers.append(Down(width))
  layers += middle(width, groups)
  layers += [nn.GroupNorm(groups, width, eps=1e-6), nn.SiLU()]
  return nn.Sequential(*layers, nn.Conv2d(width, z_channels, 3, padding=1))


def decoder(channels, multipliers, blocks, z_channels, groups, attention):
  """Features -> image, one block more at each level."""
  width = channels * multipliers[-1]
  layers = [nn.Conv2d(z_channels, width, 3, padding=1)]
  layers += middle(width, groups)
  last = len(multipliers) - 1
  for i, multiplier in reversed(list(enumerate(multipliers))):
    outer = channels * multiplier
    layers += level(width, outer, blocks + 1, groups, attention and i == last)
    width = outer
    if i:
      layers.append(Up(width))
  layers += [nn.GroupNorm(groups, width, eps=1e-6), nn.SiLU()]
  return nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))


class VQGAN(nn.Module):
  """Encoder, codebook trained by gradients, and decoder."""

  def __init__(
    self,
    *,
    channels,
    multipliers,
    blocks,
    z_channels,
    codebook_size,
    code_dim,
    groups,
    attention,
  ):
    super().__init__()
    size = (channels, multipliers, blocks, z_channels, groups, attention)
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
  """Generator, discriminator and their optimizers."""

  def __init__(
    self, model: dict, discriminator: dict, weight: float, dtype: str
  ):
    device = torch_models.get_device()
    self._device, self._dtype, self._weight = device, dtype, weight
    self._model, self._lpips = VQGAN(**model), LPIPS()
    self._discriminator = patchgan(**discriminator)
    for module in (self._model, self._lpips, self._discriminator):
      module.to(device, memory_format=torch.channels_last)
    adam = {'lr': 1e-4, 'betas': (0.5, 0.9), 'fused': device.type == 'cuda'}
    self._optimizers = [
      torch.optim.Adam(module.parameters(), **adam)
      for module in (self._model, self._discriminator)
    ]
    # The adaptive weight walks twice through the last layer.
    torch._functorch.config.donated_buffer = False
    self._apply, self._get_logits, self._compare = (
      torch_models.compile_on_gpu(module)
      for module in (self._model, self._discriminator, self._lpips)
    )

  def put(self, image: torch.Tensor) -> torch.Tensor:
    """Returns images on the device in the order of memory that is fastest."""
    return image.to(self._device, memory_format=torch.channels_last)

  def _generator_losses(self, image):
    with torch_models.use_dtype(self._dtype):
      reconstruction, codebook = self._apply(image)
      reconstruction = reconstruction.float()
      nll = (image - reconstruction).abs().mean() + self._compare(
        image, reconstruction
      )
      adversarial = -self._get_logits(reconstruction).float().mean()
    return reconstruction, nll, adversarial, codebook

  def step(self, image: torch.Tensor) -> torch.Tensor:
    """Trains both on images [B, 3, H, W] in [-1, 1]; returns the loss."""
    optimizer, adversary = self._optimizers
    reconstruction, nll, adversarial, codebook = self._generator_losses(image)
    last = self._model.decoder[-1].weight
    norms = [
      torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
      for loss in (nll, adversarial)
    ]
    adaptive = (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4).detach()
    loss = nll + self._weight * adaptive * adversarial + codebook
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch_models.use_dtype(self._dtype):
      real, fake = (
        self._get_logits(x).float() for x in (image, reconstruction.detach())
      )
    discriminator_loss = 0.5 * (
      F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    )
    adversary.zero_grad()
    discriminator_loss.backward()
    adversary.step()
    return loss.detach()
