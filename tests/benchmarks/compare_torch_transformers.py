"""How fast transformers of two PyTorch repositories are, run beside ours.

    git clone https://github.com/valeoai/Halton-MaskGIT
    git clone https://github.com/CompVis/taming-transformers
    for part in training sampling; do
      python -m tests.benchmarks.compare_torch_transformers --part $part \
          --halton Halton-MaskGIT --taming taming-transformers
    done

Their modules are imported from the checkouts, with random weights and at sizes
that a CPU trains. Both sides compute in float32, or with `--dtype bfloat16` in
bfloat16 with parameters in float32 (`torch.autocast`), and take turns; each
time is the best of several. In training each core of a CPU is a device, as in
the training programs, and memory that is freed stays with the process. Prints a
table.
"""

import argparse
import contextlib
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.speed import beside
from tests.benchmarks.speed import sampling
from tests.benchmarks.speed import training as training_lib
from train.planning import abstract
from vq_jax import samplers
from vq_jax.utils import cpu

_HALTON = {'layers': 6, 'width': 384, 'heads': 6}
_TAMING = {'layers': 6, 'width': 512, 'heads': 8}


def compare_halton(part: str, dtype: str, batch: int, turns: int) -> str:
  """Returns the line of Halton-MaskGIT at a small size."""
  import torch
  from Network import transformer
  from Sampler import halton_sampler
  from torch.nn import functional

  training = _open(
    'configs/halton_maskgit_base_imagenet256.py',
    dtype=dtype,
    mlp_width=1024,
    **_HALTON,
  )
  classes = training.task.model.prior.vocab.codebook_size
  module = transformer.Transformer(
    input_size=16,
    hidden_dim=_HALTON['width'],
    codebook_size=classes,
    depth=_HALTON['layers'],
    heads=_HALTON['heads'],
    mlp_dim=4 * _HALTON['width'],  # two thirds of it, with the gate
    dropout=0.1,
  )
  rng = np.random.default_rng(0)
  tokens = torch.from_numpy(rng.integers(0, classes, (batch, 16, 16)))
  label = torch.zeros(batch, dtype=torch.long)

  def loss():
    masked = torch.rand(batch, 16, 16) < torch.rand(batch, 1, 1)
    inputs = torch.where(masked, classes, tokens)
    logits = module(inputs, label, torch.rand(batch) < 0.1)
    return functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())

  if part == 'training':
    name = f'Halton-MaskGIT: training step, batch {batch}'
    return _compare_steps(name, module, loss, training, dtype, batch, turns)
  module.eval()
  sampler = halton_sampler.HaltonSampler(step=8, w=0.7)
  decoder = types.SimpleNamespace(decode_code=lambda code: code.float())
  trainer = types.SimpleNamespace(
    vit=module,
    ae=decoder,
    input_size=16,
    args=types.SimpleNamespace(
      device='cpu', mask_value=classes, codebook_size=classes
    ),
    autocast=contextlib.nullcontext(),
  )
  prior = training.task.model.prior
  own = samplers.MaskGITSampler(
    steps=8,
    schedule='arccos',
    rounding='decided',
    order='halton',
    guidance=0.7,
    guidance_schedule='constant',
  )
  return beside.compare(
    f'Halton-MaskGIT: {batch} images, 8 steps, guidance',
    _compute_in(
      dtype,
      lambda: sampler(trainer, nb_sample=batch, labels=label, verbose=False),
    ),
    sampling.make_action(prior, sampling.make_variables(prior), batch, own),
    turns,
  )


def compare_taming(part: str, dtype: str, batch: int, turns: int) -> str:
  """Returns the line of taming-transformers' minGPT at a small size."""
  import torch
  import transformers

  # What was renamed since, and is not called here.
  transformers.top_k_top_p_filtering = None
  from taming.modules.transformer import mingpt

  training = _open(
    'configs/vqgan_transformer_f16_1024_imagenet256.py',
    dtype=dtype,
    mlp_width=4 * _TAMING['width'],
    **_TAMING,
  )
  prior = training.task.model.prior
  vocab = prior.vocab
  module = mingpt.GPT(
    vocab.codebook_size + vocab.num_classes,
    prior.num_tokens + 1,
    n_layer=_TAMING['layers'],
    n_head=_TAMING['heads'],
    n_embd=_TAMING['width'],
    embd_pdrop=0.0,  # as in the released config
    resid_pdrop=0.0,
    attn_pdrop=0.0,
  )
  rng = np.random.default_rng(0)
  tokens = torch.from_numpy(
    rng.integers(0, vocab.codebook_size, (batch, prior.num_tokens + 1))
  )
  if part == 'training':
    return _compare_steps(
      f'taming-transformers: training step, batch {batch}',
      module,
      lambda: module(tokens[:, :-1], targets=tokens[:, 1:].contiguous())[1],
      training,
      dtype,
      batch,
      turns,
    )
  module.eval()
  return beside.compare(
    f'taming-transformers: {batch} images, with a cache',
    _compute_in(
      dtype,
      lambda: mingpt.sample_with_past(tokens[:, :1], module, prior.num_tokens),
    ),
    sampling.make_action(
      prior,
      sampling.make_variables(prior),
      batch,
      samplers.AutoregressiveSampler(),
    ),
    turns,
  )


def _open(config: str, **transformer) -> abstract.Training:
  """Returns the training of a config with another transformer."""
  return training_lib.open_training(
    # On a CPU, blocks that are not scanned take less time.
    config,
    {'model': {'transformer': {**transformer, 'scan': False}}},
    tokens=True,
  )


def _compare_steps(
  name: str,
  module: Any,
  loss: Callable[[], Any],
  training: abstract.Training,
  dtype: str,
  batch: int,
  turns: int,
) -> str:
  """Compares training steps."""
  import torch

  loss = _compute_in(dtype, loss)

  optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)

  def theirs(turn: int) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss(turn).backward()
    optimizer.step()

  step = training_lib.TrainingStep(training, batch)
  module.train()
  return beside.compare(name, theirs, lambda _: step.repeat(1), turns)


def _compute_in(
  dtype: str, function: Callable[[], Any]
) -> Callable[[int], Any]:
  """Returns an action that calls a function of PyTorch in a dtype."""
  from tests.benchmarks.speed import torch_models

  def act(_: int) -> Any:
    with torch_models.use_dtype(dtype):
      return function()

  return act


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  sides = {'halton': compare_halton, 'taming': compare_taming}
  parser.add_argument('--part', choices=('training', 'sampling'), required=True)
  parser.add_argument('--halton', metavar='CHECKOUT')
  parser.add_argument('--taming', metavar='CHECKOUT')
  parser.add_argument(
    '--dtype', choices=('float32', 'bfloat16'), default='float32'
  )
  parser.add_argument('--batch', type=int, help='16 in training, 8 in sampling')
  parser.add_argument('--turns', type=int, default=3)
  arguments = parser.parse_args(argv)
  training = arguments.part == 'training'
  batch = arguments.batch or (16 if training else 8)
  if training:
    beside.keep_freed_memory()
    cpu.use_cpu_cores(batch)
  print(beside.HEADER)
  for name, function in sides.items():
    if checkout := getattr(arguments, name):
      sys.path.insert(0, checkout)
      line = function(arguments.part, arguments.dtype, batch, arguments.turns)
      print(line, flush=True)
  return 0


if __name__ == '__main__':
  sys.exit(main())
