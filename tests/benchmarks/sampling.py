"""How fast priors are sampled, as ratios of times taken in one run.

    python -m tests.benchmarks.sampling

What a cache saves over a pass over the whole image for each token; how MaskGIT
in 8 steps compares with the autoregressive transformer of its size; and what
share of the machine's own matrix rate MaskGIT reaches at its published size.
Each time is the best of several, taken in turns. Prints a table.
"""

import argparse
import functools
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp

from tests.benchmarks.speed import timing
from tests.benchmarks.speed import training
from tests.benchmarks.speed.sampling import make_action
from tests.benchmarks.speed.sampling import make_variables
from tests.priors import tiny
from vq_jax import autoencoders
from vq_jax import priors
from vq_jax import quantizers
from vq_jax import samplers
from vq_jax.inference import generate
from vq_jax.utils import trees

VOCAB = priors.Vocab(codebook_size=1024, num_classes=1000)
SMALL = {'layers': 6, 'width': 256, 'heads': 4, 'mlp_width': 1024}
PUBLISHED = {'layers': 24, 'width': 768, 'heads': 16, 'mlp_width': 3072}
CACHED = {
  'autoregressive transformer, 16 x 16': tiny.make(
    priors.AutoregressiveTransformer, vocab=VOCAB, grid=(16, 16), **SMALL
  ),
  'PixelCNN, 32 x 32': priors.PixelCNN(
    vocab=VOCAB, grid=(32, 32), layers=12, channels=96
  ),
  'PixelSNAIL, 32 x 32': priors.PixelSNAIL(
    vocab=VOCAB,
    grid=(32, 32),
    blocks=2,
    residual_layers=3,
    channels=96,
    residual_channels=96,
    output_layers=3,
  ),
}


def full_pass(prior, variables, batch: int) -> Callable[[int], None]:
  """Returns what passes once over whole images: the price of a token without
  a cache."""
  apply = jax.jit(functools.partial(prior.apply, variables))
  tokens = jnp.zeros((batch, prior.num_tokens), jnp.int32)

  def run(seed):
    jax.block_until_ready(apply(tokens, label=jnp.full(batch, seed % 1000)))

  return run


def caches(batch: int, turns: int) -> list[str]:
  """Returns a line for each prior with a cache."""
  lines = []
  for name, prior in CACHED.items():
    variables = make_variables(prior)
    times = timing.best_of_turns(
      {
        'full': full_pass(prior, variables, batch),
        'cached': make_action(
          prior, variables, batch, samplers.AutoregressiveSampler()
        ),
      },
      turns,
    )
    per_token = times['cached'] / prior.num_tokens
    lines.append(
      f'| {name}, batch {batch}: a full pass over a cached step | '
      f'{1e3 * times["full"]:.1f} ms / {1e3 * per_token:.2f} ms | '
      f'{times["full"] / per_token:.0f} |'
    )
  return lines


def parallel_decoding(batch: int, turns: int, size: dict) -> str:
  """Returns the line of MaskGIT in 8 steps against the cached sampler."""
  kinds = (priors.AutoregressiveTransformer, priors.MaskGIT)
  cached, masked = (
    tiny.make(kind, vocab=VOCAB, grid=(16, 16), **size) for kind in kinds
  )
  times = timing.best_of_turns(
    {
      'cached': make_action(
        cached, make_variables(cached), batch, samplers.AutoregressiveSampler()
      ),
      'masked': make_action(
        masked, make_variables(masked), batch, samplers.MaskGITSampler(steps=8)
      ),
    },
    turns,
  )
  return (
    f'| 256 tokens, width {size["width"]}, {size["layers"]} layers, batch '
    f'{batch}: one by one, cached, over MaskGIT in 8 steps | '
    f'{times["cached"]:.2f} s / {times["masked"]:.2f} s | '
    f'{times["cached"] / times["masked"]:.1f} |'
  )


def compilations() -> str:
  """Returns the line of how often other labels and seeds compile anew."""
  prior = tiny.make(priors.MaskGIT, vocab=VOCAB, grid=(4, 4), **SMALL)
  sample = make_action(
    prior, make_variables(prior), 2, samplers.MaskGITSampler()
  )
  generate.sample_tokens.clear_cache()
  for seed in range(5):
    sample(seed)
  count = generate.sample_tokens._cache_size()
  return f'| five requests, other seeds and labels: compilations | | {count} |'


def published_size(turns: int) -> list[str]:
  """Returns the lines of a 256 x 256 image at the published size."""
  prior = priors.MaskGIT(vocab=VOCAB, grid=(16, 16))
  variables = make_variables(prior)
  tokenizer = autoencoders.maskgit_tokenizer(
    quantizers.VectorQuantizer(codebook_size=1024, code_dim=256)
  )
  image = jnp.zeros((1, 256, 256, 3))
  tokenizer_variables = training.make_arrays(
    jax.eval_shape(lambda: tokenizer.init(jax.random.key(0), image))
  )
  decode = jax.jit(
    functools.partial(
      tokenizer.apply, tokenizer_variables, method='decode_indices'
    )
  )
  indices = jnp.zeros((1, 16, 16), jnp.int32)
  square = jnp.ones((2048, 2048))
  multiply = jax.jit(jnp.matmul)
  times = timing.best_of_turns(
    {
      'matrix': lambda _: jax.block_until_ready(multiply(square, square)),
      'tokens': make_action(
        prior, variables, 1, samplers.MaskGITSampler(steps=8)
      ),
      'decode': lambda _: jax.block_until_ready(decode(indices)),
    },
    turns,
  )
  # Of each token in each step: a product with every kernel, the head, and
  # scores and sums of attention.
  config = prior.transformer
  n, d, layers = 257, config.width, config.layers
  kernels = layers * (4 * d * d + 2 * d * config.mlp_width)
  head = d * d + d * VOCAB.codebook_size
  flops = 8 * 2 * n * (kernels + head + layers * 2 * n * d)
  rate = 2 * 2048**3 / times['matrix']
  reached = flops / times['tokens'] / rate
  params = trees.count(variables['params'])
  return [
    f'| MaskGIT of {params / 1e6:.1f} M, one image in 8 steps: tokens and '
    f'decoder | {times["tokens"]:.2f} s + {times["decode"]:.2f} s | |',
    '| its share of the matrix rate (2048 x 2048, float32) | '
    f'{flops / times["tokens"] / 1e9:.0f} of {rate / 1e9:.0f} GFLOP/s | '
    f'{reached:.0%} |',
  ]


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument(
    '--batches', type=int, nargs='+', default=[1, 16], help='images at a time'
  )
  parser.add_argument('--turns', type=int, default=5)
  arguments = parser.parse_args(argv)
  print('| | times | ratio |\n|---|---|---|')
  for batch in arguments.batches:
    for line in caches(batch, arguments.turns):
      print(line, flush=True)
  for size in (SMALL, PUBLISHED):
    print(parallel_decoding(1, arguments.turns, size), flush=True)
  for line in (compilations(), *published_size(arguments.turns)):
    print(line, flush=True)
  return 0


if __name__ == '__main__':
  sys.exit(main())
