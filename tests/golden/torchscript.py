"""Writes `torchscript.pt`, with PyTorch: a small scripted module."""

import pathlib

PATH = pathlib.Path(__file__).parent / 'torchscript.pt'


def write():
  """Scripts a module with layers, a buffer, a number and a list."""
  import torch

  class Model(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.layers = torch.nn.Sequential(
        torch.nn.Linear(2, 3), torch.nn.LayerNorm(3)
      )
      self.sizes = [1, 2]
      self.number = 0.5
      self.register_buffer('mask', torch.ones(2, 2).triu(1))

    def forward(self, x):
      return self.number * self.layers(x @ self.mask + self.sizes[0])

  model = Model().eval()
  weight = torch.arange(6).reshape(3, 2) / 8
  model.layers[0].weight = torch.nn.Parameter(weight)
  model.layers.half()
  torch.jit.script(model).save(str(PATH))


if __name__ == '__main__':
  write()
