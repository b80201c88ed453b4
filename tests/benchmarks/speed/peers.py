"""This library beside PyTorch, in one process and in turns.

The modules of both sides have the same sizes, taken from the config of ours.
Only times are compared: none of them loads weights.
"""

import functools
import time
from collections.abc import Callable

import numpy as np

from tests.benchmarks.speed import sampling
from tests.benchmarks.speed import timing
from tests.benchmarks.speed import training as training_lib
from tests.benchmarks.speed.items import Context
from tests.benchmarks.speed.items import Figures
from tests.benchmarks.speed.items import Item
from tests.benchmarks.speed.items import Model
from train.planning import abstract

Repeat = Callable[[int], object]
TURNS = 3


def compare(
  ours: Repeat, theirs: Repeat, batch: int, context: Context
) -> Figures:
  """Times both sides in turns, each of which is warmed up again.

  Args:
    ours: runs our program some times, and waits once.
    theirs: the same in PyTorch.
    batch: number of images in a run.
    context: how long it takes.

  Returns:
    the figures of an item, of the best turn of each side.
  """
  sides = {'ours': ours, 'theirs': theirs}
  compile_s, numbers, best = {}, {}, {}
  for name, repeat in sides.items():
    began = time.perf_counter()
    repeat(2)  # the first one compiles
    compile_s[name] = time.perf_counter() - began
    began = time.perf_counter()
    repeat(1)
    once = time.perf_counter() - began
    numbers[name] = max(1, int(context.seconds / TURNS / once))
  for _ in range(TURNS):
    for name, repeat in sides.items():
      repeat(1)
      began = time.perf_counter()
      repeat(numbers[name])
      seconds = (time.perf_counter() - began) / numbers[name]
      best[name] = min(seconds, best.get(name, seconds))
  return {
    'batch': batch,
    'images_per_s': batch / best['ours'],
    'ms': 1e3 * best['ours'],
    'peer_images_per_s': batch / best['theirs'],
    'peer_ms': 1e3 * best['theirs'],
    'compile_s': compile_s['ours'],
    'note': f'PyTorch compiled in {compile_s["theirs"]:.0f} s',
  }


def make_item(name: str, model: Model, make_sides) -> Item:
  """Returns the item of a comparison.

  Args:
    name: what is compared.
    model: the config of our side.
    make_sides: (training, batch, dtype) -> both functions of `compare`.
  """

  def measure(context: Context) -> Figures:
    import torch

    machine = context.machine
    if (machine.platform == 'gpu') != torch.cuda.is_available():
      return {'note': f'skipped: PyTorch has no {machine.platform}'}
    batch = model.get_batch(context, devices=1)
    training = model.open(context, devices=1)
    try:
      sides = make_sides(training, batch, machine.dtype)
      return compare(*sides, batch, context)
    finally:
      if torch.cuda.is_available():
        torch.cuda.empty_cache()

  return Item(name=f'beside PyTorch: {name}', measure=measure, group='peers')


def _make_tensors(training: abstract.Training, batch: int):
  """Returns a batch in PyTorch, by name."""
  import torch

  return {
    name: torch.from_numpy(x.astype(np.int64)).reshape(
      (batch, -1) if name == 'tokens' else x.shape
    )
    for name, x in training_lib.make_batch(training, batch).items()
  }


def _to_pixels(tensors, low: float):
  """Returns images [B, C, H, W] in [low, 1]."""
  image = tensors['image'].permute(0, 3, 1, 2).contiguous().float() / 255
  return image * (1 - low) + low


def _train_prior(training: abstract.Training, batch: int, dtype: str):
  from tests.benchmarks.speed import torch_models

  prior = training.task.model.prior
  cls = torch_models.Autoregressive if prior.causal else torch_models.MaskGIT
  tensors = _make_tensors(training, batch)
  theirs = torch_models.Trainer(
    cls(prior), dtype, tensors['tokens'], tensors['label']
  )
  return training_lib.TrainingStep(training, batch).repeat, theirs.repeat


def _train_vit(training: abstract.Training, batch: int, dtype: str):
  from tests.benchmarks.speed import torch_models

  autoencoder = training.task.model.autoencoder
  module = torch_models.ViTVQGAN(
    autoencoder.encoder,
    autoencoder.decoder,
    autoencoder.quantizer.codebook_size,
    autoencoder.quantizer.code_dim,
    training.examples.image_shape,
  )
  image = _to_pixels(_make_tensors(training, batch), 0.0)
  theirs = torch_models.Trainer(module, dtype, image)
  return training_lib.TrainingStep(training, batch).repeat, theirs.repeat


def train_vqgan(training: abstract.Training, batch: int, dtype: str):
  """Returns what trains a VQGAN on both sides; see `compare`."""
  from tests.benchmarks import torch_vqgan
  from tests.benchmarks.speed import torch_models

  autoencoder = training.task.model.autoencoder
  encoder, quantizer = autoencoder.encoder, autoencoder.quantizer
  discriminator = training.task.discriminator
  trainer = torch_vqgan.Trainer(
    {
      'channels': encoder.channels,
      'multipliers': encoder.multipliers,
      'blocks': encoder.blocks,
      'z_channels': encoder.out_channels,
      'codebook_size': quantizer.codebook_size,
      'code_dim': quantizer.code_dim,
      'groups': encoder.groups,
      'attention': bool(encoder.attention_strides),
    },
    {
      'channels': discriminator.module.channels,
      'layers': discriminator.module.layers,
    },
    discriminator.config.weight,
    dtype,
  )
  image = trainer.put(_to_pixels(_make_tensors(training, batch), -1.0))

  def theirs(n: int) -> None:
    for _ in range(n):
      trainer.step(image)
    torch_models.wait()

  return training_lib.TrainingStep(training, batch).repeat, theirs


def _sample(training: abstract.Training, batch: int, dtype: str):
  import torch

  from tests.benchmarks.speed import torch_models

  model = training.task.model
  prior, sampler = model.prior, model.info.sampler
  action = sampling.make_action(
    prior, sampling.make_variables(prior), batch, sampler
  )
  device = torch_models.get_device()
  label = torch.zeros(batch, dtype=torch.int64, device=device)
  if prior.causal:
    module = torch_models.Autoregressive(prior).to(device).eval()
    sample = module.make_sampler(batch, getattr(torch, dtype))
  else:
    module = torch_models.MaskGIT(prior).to(device).eval()
    sample = functools.partial(
      module.sample,
      steps=sampler.steps,
      logits_of=torch_models.compile_on_gpu(module),
    )

  def ours(n: int) -> None:
    for seed in range(n):
      action(seed)

  def theirs(n: int) -> None:
    for _ in range(n):
      with torch_models.use_dtype(dtype):
        sample(label)
      torch_models.wait()

  return ours, theirs


def _measure_products(context: Context) -> Figures:
  """Compares products of square matrices."""
  import torch

  from tests.benchmarks.speed import torch_models

  machine = context.machine
  size = machine.size
  dtype = getattr(torch, machine.dtype)
  a = torch.randn(size, size, device=torch_models.get_device()).to(dtype)

  def repeat(n: int) -> None:
    for _ in range(n):
      torch.mm(a, a)
    torch_models.wait()

  repeat(3)
  theirs = timing.time_repeats(repeat, context.seconds)
  ours, rate = context.measure_rate(), 2 * size**3 / theirs
  return {
    'ms': 2 * size**3 / ours * 1e3,
    'peer_ms': 1e3 * theirs,
    'note': f'{ours / 1e12:.4g} TFLOP/s, PyTorch {rate / 1e12:.4g}',
  }


_TRANSFORMER = ('model.transformer',)
_NO_DISCRIMINATOR = {
  # The discriminator starts after the last step.
  'adversary': {'start': {'steps': 10**6}},
  'loss': {'lpips': 0.0},
}
_IN_ONE_PASS = {
  'adversary': {'update': 'simultaneous'},
  'loss': {'lpips': 1.0},
}
ITEMS = [
  Item(
    name='beside PyTorch: products of matrices',
    measure=_measure_products,
    group='peers',
  ),
  make_item(
    'training step: MaskGIT 256',
    Model(
      config='maskgit_imagenet256', dtypes=_TRANSFORMER, tokens=True, batch=64
    ),
    _train_prior,
  ),
  make_item(
    'training step: VIM base, without remat',
    Model(
      config='vit_vqgan_vim_base_imagenet256',
      changes={'model': {'transformer': {'remat': False}}},
      dtypes=_TRANSFORMER,
      tokens=True,
      batch=8,
    ),
    _train_prior,
  ),
  make_item(
    'training step: VQGAN f16',
    Model(
      config='vqgan_f16_1024_imagenet256',
      changes=_IN_ONE_PASS,
      dtypes=('model', 'adversary.discriminator'),
      batch=8,
    ),
    train_vqgan,
  ),
  make_item(
    'training step: ViT-VQGAN small, without discriminator, LPIPS and remat',
    Model(
      config='vit_vqgan_small_imagenet256',
      changes={
        **_NO_DISCRIMINATOR,
        'model': {'transformer': {'remat': False}},
      },
      dtypes=_TRANSFORMER,
      batch=32,
    ),
    _train_vit,
  ),
  make_item(
    'sampling: MaskGIT 256, 8 steps',
    Model(
      config='maskgit_imagenet256',
      changes={'sampler': {'steps': 8}},
      dtypes=_TRANSFORMER,
      tokens=True,
      batch=64,
    ),
    _sample,
  ),
  make_item(
    'sampling: autoregressive transformer, 16 x 16',
    Model(
      config='vqgan_transformer_f16_1024_imagenet256',
      changes={'sampler': {'top_k': None, 'top_p': None}},
      dtypes=_TRANSFORMER,
      tokens=True,
      batch=64,
    ),
    _sample,
  ),
]
