"""The time of a step of VQGAN+CLIP beside PyTorch's, in one run.

    python -m tests.benchmarks.compare_guidance_steps --turns 3

One image of 256 x 256, 32 cutouts, CLIP ViT-B/32 and the VQGAN of stride 16
with 16,384 codes, random weights, float32: this library's step, and the way of
the public notebooks in PyTorch (random crops, one affine warp, noise, CLIP of
`transformers` or plain layers, Adam on the latents), on all cores, in turns.
Needs torch. Prints the best times. Both augment by mirroring, an affine change
and noise.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tests.benchmarks import guidance_memory
from tests.benchmarks import torch_vqgan
from vq_jax import guidance

SIZE, CUTOUTS, VIEW = 256, 32, 224


def ours():
  """Returns a function that takes a step and waits for it."""
  options = guidance.GuidanceOptions(
    num_cutouts=CUTOUTS,
    cutouts_at_once=CUTOUTS,
    augmentations='flip,affine,noise',
  )
  autoencoder, clip = guidance_memory.make_parts(jnp.float32)
  key = jax.random.key(0)
  image = jnp.full((1, SIZE, SIZE, 3), 0.5)
  variables = jax.jit(autoencoder.init)(key, image)
  tokens = jnp.zeros((1, 77), jnp.int32)
  clip_variables = jax.jit(clip.init)(
    key, jnp.zeros((1, VIEW, VIEW, 3)), tokens
  )
  guide = guidance.Guide(
    name='clip',
    module=clip,
    variables=clip_variables,
    size=VIEW,
    encode_texts=len,
  )
  networks = guidance.Networks(
    autoencoder=variables,
    guides=(clip_variables,),
    code_range=guidance.latents.code_range(
      autoencoder, variables, options.form
    ),
  )
  target = jax.random.normal(key, (1, 512))
  targets = guidance.Targets(
    embedding=target / jnp.linalg.norm(target),
    weight=jnp.ones(1),
    stop=jnp.full(1, -100.0),
  )
  latents = guidance.latents.from_image(
    autoencoder, variables, image, options.form
  )
  state = guidance.init_state(latents, jax.random.split(key, 1), image, options)
  step = jax.jit(guidance.make_step(autoencoder, [guide], options))
  box = [state]

  def run():
    box[0], losses = step(box[0], networks, (targets,))
    jax.block_until_ready((box[0].latents, losses))

  return run


class TorchCLIP(nn.Module):
  """The image encoder of ViT-B/32, in PyTorch's own transformer layers."""

  def __init__(self):
    super().__init__()
    self.patch = nn.Conv2d(3, 768, 32, 32, bias=False)
    self.token = nn.Parameter(torch.zeros(1, 1, 768))
    self.position = nn.Parameter(torch.zeros(1, 50, 768))
    self.before, self.after = nn.LayerNorm(768), nn.LayerNorm(768)
    layer = nn.TransformerEncoderLayer(
      768, 12, 3072, 0.0, 'gelu', batch_first=True, norm_first=True
    )
    self.layers = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
    self.project = nn.Linear(768, 512, bias=False)

  def forward(self, image):
    x = self.patch(image).flatten(2).transpose(1, 2)
    x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
    x = self.after(self.layers(self.before(x))[:, 0])
    return F.normalize(self.project(x), dim=-1)


def make_torch_clip() -> nn.Module:
  """Returns the encoder of `transformers`, or of plain layers without it."""
  try:
    import transformers
  except ImportError:
    print('CLIP in plain torch layers')
    return TorchCLIP()
  print('CLIP of transformers', transformers.__version__)
  config = transformers.CLIPVisionConfig(
    hidden_size=768, intermediate_size=3072, patch_size=32, projection_dim=512
  )
  model = transformers.CLIPVisionModelWithProjection(config)

  class Encoder(nn.Module):
    def __init__(self):
      super().__init__()
      self.model = model

    def forward(self, image):
      found = self.model(pixel_values=image).image_embeds
      return F.normalize(found, dim=-1)

  return Encoder()


def peer():
  """Returns the same in PyTorch."""
  torch_vqgan.GROUPS = 32
  decoder = torch_vqgan.decoder(128, (1, 1, 2, 2, 4), 2, 256)
  from_code = nn.Conv2d(256, 256, 1)
  codebook = torch.randn(16384, 256) / 16384
  clip = make_torch_clip()
  for module in (decoder, from_code, clip):
    module.requires_grad_(False)
  target = F.normalize(torch.randn(1, 512), dim=-1)
  z = torch.zeros(1, SIZE // 16, SIZE // 16, 256, requires_grad=True)
  optimizer = torch.optim.Adam([z], lr=0.1)
  low, high = codebook.amin(0), codebook.amax(0)
  mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
  std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)

  def views(image):
    cut = []
    for _ in range(CUTOUTS):
      side = int(torch.rand(()) * (SIZE - VIEW) + VIEW)
      top, left = (int(torch.randint(SIZE - side + 1, ())) for _ in range(2))
      crop = image[:, :, top : top + side, left : left + side]
      cut.append(F.adaptive_avg_pool2d(crop, VIEW))
    cut = torch.cat(cut)
    angle = torch.deg2rad(30 * (torch.rand(CUTOUTS) - 0.5))
    flip = torch.where(torch.rand(CUTOUTS) < 0.5, -1.0, 1.0)
    shift = 0.4 * (torch.rand(2, CUTOUTS) - 0.5)
    theta = torch.stack(
      [
        torch.stack([flip * angle.cos(), -angle.sin(), shift[0]], -1),
        torch.stack([flip * angle.sin(), angle.cos(), shift[1]], -1),
      ],
      1,
    )
    grid = F.affine_grid(theta, cut.shape, align_corners=False)
    cut = F.grid_sample(cut, grid, padding_mode='border', align_corners=False)
    scale = torch.rand(CUTOUTS, 1, 1, 1) * 0.1
    return cut + scale * torch.randn_like(cut)

  def run():
    flat = z.reshape(-1, 256)
    squares = (flat**2).sum(1, keepdim=True) + (codebook**2).sum(1)
    nearest = (squares - 2 * flat @ codebook.T).argmin(1)
    codes = codebook[nearest].reshape(z.shape)
    codes = z + (codes - z).detach()
    image = decoder(from_code(codes.permute(0, 3, 1, 2)))
    image = ((image + 1) / 2).clamp(0, 1)
    embedding = clip((views(image) - mean) / std)
    distance = (embedding - target).norm(dim=-1).div(2).arcsin() ** 2 * 2
    optimizer.zero_grad()
    distance.mean().backward()
    optimizer.step()
    with torch.no_grad():
      z.clamp_(low, high)

  return run


def main() -> None:
  """Prints the best time of each, and their ratio."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--turns', type=int, default=3)
  parser.add_argument('--steps', type=int, default=2)
  arguments = parser.parse_args()
  runs = {'vq_jax': ours(), 'PyTorch': peer()}
  times = {name: [] for name in runs}
  for name, run in runs.items():
    start = time.monotonic()
    run()
    print(f'{name}: first step {time.monotonic() - start:.1f} s', flush=True)
  for _ in range(arguments.turns):
    for name, run in runs.items():
      start = time.monotonic()
      for _ in range(arguments.steps):
        run()
      times[name].append((time.monotonic() - start) / arguments.steps)
  for name, found in times.items():
    each = ', '.join(f'{t:.2f}' for t in found)
    print(f'{name}: best {min(found):.2f} s a step ({each})')
  ratio = np.min(times['vq_jax']) / np.min(times['PyTorch'])
  print(f'vq_jax takes {ratio:.2f} of the time of PyTorch')


if __name__ == '__main__':
  main()
