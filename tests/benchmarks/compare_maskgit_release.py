"""How fast Google's release of MaskGIT is, run beside this one.

    git clone https://github.com/google-research/maskgit
    python -m tests.benchmarks.compare_maskgit_release maskgit

Its modules are imported from the checkout, which needs ml_collections, and have
random weights and the published sizes. Both sides compute in float32 and take
turns; each time is the best of several. With `--dtype bfloat16` our transformer
computes in bfloat16, which the release cannot. Prints a table.
"""

import argparse
import dataclasses
import sys
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tests.benchmarks.speed import beside
from tests.benchmarks.speed import sampling
from tests.benchmarks.speed import training as training_lib
from vq_jax import autoencoders
from vq_jax import priors
from vq_jax import quantizers
from vq_jax import samplers
from vq_jax.inference import codec
from vq_jax.priors import maskgit


def compare_tokens(batch: int, turns: int, dtype: str) -> str:
  """Returns the line of sampling at the published size."""
  from maskgit.libml import parallel_decode
  from maskgit.nets import maskgit_transformer

  prior = priors.MaskGIT(
    vocab=priors.Vocab(codebook_size=1024, num_classes=1000),
    grid=(16, 16),
    transformer=dataclasses.replace(maskgit.PUBLISHED, dtype=jnp.dtype(dtype)),
  )
  size = prior.transformer
  transformer = maskgit_transformer.Transformer(
    vocab_size=prior.vocab.mask_id + 1,
    hidden_size=size.width,
    num_hidden_layers=size.layers,
    num_attention_heads=size.heads,
    intermediate_size=size.mlp_width,
    hidden_dropout_prob=0.1,
    attention_probs_dropout_prob=0.1,
    max_position_embeddings=prior.num_tokens + 1,
  )
  blank = jnp.full((batch, prior.num_tokens + 1), -1).at[:, 0].set(1024)
  variables = _make_variables(transformer, blank, deterministic=True)

  @jax.jit
  def sample(variables, tokens, key):
    def apply(tokens):
      logits = transformer.apply(variables, tokens, deterministic=True)
      return logits[..., :1024]

    return parallel_decode.decode(
      tokens, key, apply, num_iter=8, choice_temperature=4.5
    )[:, -1]

  return beside.compare(
    f'Google: tokens of {batch} image(s), 8 steps; ours in {dtype}',
    lambda seed: jax.block_until_ready(
      sample(variables, blank, jax.random.PRNGKey(seed))
    ),
    sampling.make_action(
      prior,
      sampling.make_variables(prior),
      batch,
      samplers.MaskGITSampler(steps=8),
    ),
    turns,
  )


def compare_decoders(batch: int, turns: int) -> str:
  """Returns the line of the decoder of the tokenizer."""
  from maskgit.configs import maskgit_class_cond_config
  from maskgit.nets import vqgan_tokenizer

  config = maskgit_class_cond_config.get_config()
  config.image_size = 256
  peer = vqgan_tokenizer.VQVAE(config=config, dtype=jnp.float32, train=False)
  image, indices = jnp.zeros((1, 256, 256, 3)), jnp.zeros((batch, 16, 16), int)
  peer_variables = _make_variables(
    peer, {'image': image}, method=lambda m, x: m.decode(m.encode(x)[0])
  )
  decode = jax.jit(
    lambda variables, indices: peer.apply(
      variables, indices, method='decode_from_indices'
    )
  )
  own = autoencoders.maskgit_tokenizer(
    quantizers.VectorQuantizer(codebook_size=1024, code_dim=256)
  )
  own_variables = _make_variables(own, image)
  return beside.compare(
    f'Google: tokens to {batch} image(s)',
    lambda _: jax.block_until_ready(decode(peer_variables, indices)),
    lambda _: jax.block_until_ready(
      codec.decode_tokens(own, own_variables, indices)
    ),
    turns,
  )


def _make_variables(module: nn.Module, *args, **options) -> dict[str, Any]:
  """Returns random variables of a module."""
  return training_lib.make_arrays(
    jax.eval_shape(lambda: module.init(jax.random.key(0), *args, **options))
  )


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('checkout')
  parser.add_argument('--batches', type=int, nargs='+', default=[1, 8])
  parser.add_argument('--turns', type=int, default=3)
  parser.add_argument(
    '--dtype', choices=('float32', 'bfloat16'), default='float32'
  )
  arguments = parser.parse_args(argv)
  sys.path.insert(0, arguments.checkout)
  # The name of arrays when the release was written.
  vars(jnp)['DeviceArray'] = jax.Array
  print(beside.HEADER)
  for batch in arguments.batches:
    print(compare_tokens(batch, arguments.turns, arguments.dtype), flush=True)
    print(compare_decoders(batch, arguments.turns), flush=True)
  return 0


if __name__ == '__main__':
  sys.exit(main())
