"""Random weights of Inception-v3, and what PyTorch computes with them.

`inception.json` was written by running this file with PyTorch 2.13 installed.
`torch_inception` is written after the graph of 2015 and has no other purpose.
"""

import json
import pathlib

import numpy as np

JSON = pathlib.Path(__file__).parent / 'inception.json'
WIDTH, CLASSES, SIZE = 1 / 16, 5, 107
EPSILON = 1e-3  # of the batch norms

# Name of a convolution -> width, kernel, stride, padding.
_1X1, _3X3, _SMALLER = ((1, 1), 1, 0), ((3, 3), 1, 1), ((3, 3), 2, 0)
_ROW, _COLUMN = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
STEM = {
  'Conv2d_1a_3x3': (32, *_SMALLER),
  'Conv2d_2a_3x3': (32, (3, 3), 1, 0),
  'Conv2d_2b_3x3': (64, *_3X3),
  'Conv2d_3b_1x1': (80, *_1X1),
  'Conv2d_4a_3x3': (192, (3, 3), 1, 0),
}


def _a(pooled):
  return {
    'branch1x1': (64, *_1X1),
    'branch5x5_1': (48, *_1X1),
    'branch5x5_2': (64, (5, 5), 1, 2),
    'branch3x3dbl_1': (64, *_1X1),
    'branch3x3dbl_2': (96, *_3X3),
    'branch3x3dbl_3': (96, *_3X3),
    'branch_pool': (pooled, *_1X1),
  }


def _c(width):
  return {
    'branch1x1': (192, *_1X1),
    'branch7x7_1': (width, *_1X1),
    'branch7x7_2': (width, *_ROW),
    'branch7x7_3': (192, *_COLUMN),
    'branch7x7dbl_1': (width, *_1X1),
    'branch7x7dbl_2': (width, *_COLUMN),
    'branch7x7dbl_3': (width, *_ROW),
    'branch7x7dbl_4': (width, *_COLUMN),
    'branch7x7dbl_5': (192, *_ROW),
    'branch_pool': (192, *_1X1),
  }


_E = {
  'branch1x1': (320, *_1X1),
  'branch3x3_1': (384, *_1X1),
  'branch3x3_2a': (384, (1, 3), 1, (0, 1)),
  'branch3x3_2b': (384, (3, 1), 1, (1, 0)),
  'branch3x3dbl_1': (448, *_1X1),
  'branch3x3dbl_2': (384, *_3X3),
  'branch3x3dbl_3a': (384, (1, 3), 1, (0, 1)),
  'branch3x3dbl_3b': (384, (3, 1), 1, (1, 0)),
  'branch_pool': (192, *_1X1),
}
BLOCKS = {
  'Mixed_5b': _a(32),
  'Mixed_5c': _a(64),
  'Mixed_5d': _a(64),
  'Mixed_6a': {
    'branch3x3': (384, *_SMALLER),
    'branch3x3dbl_1': (64, *_1X1),
    'branch3x3dbl_2': (96, *_3X3),
    'branch3x3dbl_3': (96, *_SMALLER),
  },
  'Mixed_6b': _c(128),
  'Mixed_6c': _c(160),
  'Mixed_6d': _c(160),
  'Mixed_6e': _c(192),
  'Mixed_7a': {
    'branch3x3_1': (192, *_1X1),
    'branch3x3_2': (320, *_SMALLER),
    'branch7x7x3_1': (192, *_1X1),
    'branch7x7x3_2': (192, *_ROW),
    'branch7x7x3_3': (192, *_COLUMN),
    'branch7x7x3_4': (192, *_SMALLER),
  },
  'Mixed_7b': _E,
  'Mixed_7c': _E,
}
# Output channels of each block, and which convolutions read its input; any
# other reads the one before it, but those of `_SPLIT`.
_FIRST = ('branch1x1', 'branch3x3', 'branch_pool')
_SPLIT = {'branch3x3_2b': 'branch3x3_1', 'branch3x3dbl_3b': 'branch3x3dbl_2'}


def _layers():
  """Yields the full name of each convolution, its input and its shape."""
  channels, last = 3, None
  for name, (width, kernel, *_) in STEM.items():
    yield name, channels, _scaled(width), kernel
    channels = _scaled(width)
  for block, convs in BLOCKS.items():
    widths, previous = {}, None
    for name, (width, kernel, *_) in convs.items():
      source = _source(name, previous)
      read = widths[source] if source else channels
      widths[name] = _scaled(width)
      yield f'{block}.{name}', read, widths[name], kernel
      previous = name
    last = sum(widths[name] for name in _ends(convs))
    channels = last + (0 if 'branch_pool' in convs else channels)


def _source(name, previous):
  """The convolution of the block that another reads; None is its input."""
  if name in _SPLIT:
    return _SPLIT[name]
  if name in _FIRST or name.endswith('_1'):
    return None
  return previous


def _ends(convs):
  """The convolutions that no other reads, in the order of the output."""
  names = list(convs)
  read = {_source(n, p) for n, p in zip(names[1:], names, strict=False)}
  return [name for name in names if name not in read]


def _scaled(width):
  return max(1, round(width * WIDTH))


def state(seed=0):
  """Returns a state dict of random arrays, with the names of the release."""
  rng = np.random.default_rng(seed)
  arrays = {}
  for name, read, width, kernel in _layers():
    shape = (width, read, *kernel)
    spread = (2 / np.prod(shape[1:])) ** 0.5
    noise = 0.2 * rng.normal(size=(4, width))
    arrays[f'{name}.conv.weight'] = spread * rng.normal(size=shape)
    arrays[f'{name}.bn.weight'] = 1 + noise[0]
    arrays[f'{name}.bn.bias'] = noise[1]
    arrays[f'{name}.bn.running_mean'] = noise[2]
    arrays[f'{name}.bn.running_var'] = 1 + noise[3] ** 2
  arrays = {k: np.asarray(v, np.float32) for k, v in arrays.items()}
  for name in list(arrays):
    if name.endswith('running_var'):
      tracked = name.replace('running_var', 'num_batches_tracked')
      arrays[tracked] = np.asarray(0, np.int64)
  convs = BLOCKS['Mixed_7c']
  channels = sum(_scaled(convs[name][0]) for name in _ends(convs))
  fc = rng.normal(size=(CLASSES, channels)) / channels**0.5
  arrays['fc.weight'] = np.asarray(fc, np.float32)
  arrays['fc.bias'] = np.asarray(rng.normal(size=CLASSES), np.float32)
  return arrays


def images():
  """Returns uint8 [2, SIZE, SIZE, 3]."""
  rng = np.random.default_rng(1)
  return rng.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)


def torch_inception(arrays, image):
  """Computes all layers with PyTorch.

  Args:
    arrays: a state dict.
    image: float32 [B, H, W, 3] in [-1, 1].

  Returns:
    name -> [B, H, W, C] for the stem and each block, and the features.
  """
  import torch
  import torch.nn.functional as F

  weights = {name: torch.from_numpy(array) for name, array in arrays.items()}

  def conv(x, name, stride, padding):
    x = F.conv2d(x, weights[f'{name}.conv.weight'], None, stride, padding)
    mean, var, scale, shift = (
      weights[f'{name}.bn.{kind}']
      for kind in ('running_mean', 'running_var', 'weight', 'bias')
    )
    return F.relu(F.batch_norm(x, mean, var, scale, shift, eps=EPSILON))

  def block(x, name, convs):
    done, previous = {}, None
    for own, (_, _, stride, padding) in convs.items():
      source = _source(own, previous)
      read = done[source] if source else x
      if own == 'branch_pool':
        read = (
          F.max_pool2d(x, 3, 1, 1)
          if name == 'Mixed_7c'
          else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        )
      done[own] = conv(read, f'{name}.{own}', stride, padding)
      previous = own
    ends = [done[own] for own in _ends(convs)]
    if 'branch_pool' not in convs:
      ends.append(F.max_pool2d(x, 3, 2))
    return torch.cat(ends, 1)

  found = {}
  with torch.no_grad():
    x = torch.from_numpy(image).permute(0, 3, 1, 2)
    for name, (_, _, stride, padding) in STEM.items():
      x = conv(x, name, stride, padding)
      if name in ('Conv2d_2b_3x3', 'Conv2d_4a_3x3'):
        x = F.max_pool2d(x, 3, 2)
    found['stem'] = x
    for name, convs in BLOCKS.items():
      found[name] = x = block(x, name, convs)
    first = found['Mixed_6d'][:, :7].permute(0, 2, 3, 1)
    found = {k: v.permute(0, 2, 3, 1) for k, v in found.items()}
    found['spatial'] = first.flatten(1)
    found['pooled'] = pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
    found['logits'] = pooled @ weights['fc.weight'].T
  return {name: array.numpy() for name, array in found.items()}


def excerpt(array):
  """Returns at most 40 numbers of an array and its mean and deviation."""
  flat = np.asarray(array, np.float64).ravel()
  at = np.linspace(0, len(flat) - 1, 40).round().astype(int)
  return [flat.mean(), flat.std(), *flat[np.unique(at)]]


def main():
  """Writes the file."""
  image = (images().astype(np.float32) - 128) / 128
  found = torch_inception(state(), image)
  rounded = {
    name: [float(f'{x:.7g}') for x in excerpt(array)]
    for name, array in found.items()
  }
  JSON.write_text(json.dumps(rounded, indent=1) + '\n')


if __name__ == '__main__':
  main()
