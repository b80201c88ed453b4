"""The memory of a step of VQGAN+CLIP, as the compiler plans it.

    python -m tests.benchmarks.guidance_memory --sizes 256 512 1024
    python -m tests.benchmarks.guidance_memory --tpu v5e:2x2 --dtype bfloat16

Compiles one step with a VQGAN of stride 16 and 16,384 codes and a CLIP
ViT-B/32, and prints the bytes of temporaries. Nothing is computed, and no
weights are needed. With --tpu the compiler of libtpu is used, for one chip, and
its estimate of the cycles is printed as well; a loop counts once for each trip.
"""

import argparse
import time

import jax
import jax.numpy as jnp

from train.planning import chips
from train.planning import hlo
from vq_jax import autoencoders
from vq_jax import features
from vq_jax import guidance
from vq_jax import quantizers
from vq_jax.layers import initializers

MIB = 2**20


def make_parts(dtype: jnp.dtype):
  """Returns the VQGAN and the CLIP."""
  autoencoder = autoencoders.vqgan_taming(
    quantizers.VectorQuantizer(
      codebook_size=16384, code_dim=256, codebook_init=initializers.taming
    ),
    dtype=dtype,
  )
  return autoencoder, features.CLIP(features.CLIPConfig(), dtype=dtype)


def lower(size: int, options: guidance.GuidanceOptions, dtype, sharding=None):
  """Lowers a step for shapes alone."""
  autoencoder, clip = make_parts(dtype)
  image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  view = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  tokens = jax.ShapeDtypeStruct((1, 77), jnp.int32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  networks = guidance.Networks(
    autoencoder=jax.eval_shape(autoencoder.init, key, image),
    guides=(jax.eval_shape(clip.init, key, view, tokens),),
    code_range=(jax.ShapeDtypeStruct((1, 1, 1, 256), jnp.float32),) * 2,
  )
  guide = guidance.Guide(
    name='clip', module=clip, variables={}, size=224, encode_texts=len
  )
  latents = jax.ShapeDtypeStruct((1, size // 16, size // 16, 256), jnp.float32)
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
  state = jax.eval_shape(
    lambda z, k, x: guidance.init_state(z, k, x, options), latents, keys, image
  )
  targets = guidance.Targets(
    embedding=jax.ShapeDtypeStruct((1, 512), jnp.float32),
    weight=jax.ShapeDtypeStruct((1,), jnp.float32),
    stop=jax.ShapeDtypeStruct((1,), jnp.float32),
  )
  step = guidance.make_step(
    autoencoder.clone(decoder=autoencoder.decoder.clone(remat=options.remat)),
    [guide],
    options,
  )
  arguments = (state, networks, (targets,))
  if sharding is not None:
    arguments = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
      arguments,
    )
  return jax.jit(step).lower(*arguments)


def main() -> None:
  """Prints a table."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--sizes', type=int, nargs='+', default=[256, 512, 1024])
  parser.add_argument('--cutouts', type=int, default=64)
  parser.add_argument('--at-once', type=int, nargs='+', default=[64, 16, 4])
  parser.add_argument('--remat', action='store_true')
  parser.add_argument('--dtype', default='float32')
  parser.add_argument('--tpu', metavar='TOPOLOGY')
  arguments = parser.parse_args()
  sharding = None
  if arguments.tpu:
    topology = chips.open_topology(arguments.tpu)
    sharding = jax.sharding.SingleDeviceSharding(topology.devices[0])
  print('| size | cutouts | at once | temporaries | cycles | compiled in |')
  print('|---|---|---|---|---|---|')
  for size in arguments.sizes:
    for at_once in arguments.at_once:
      options = guidance.GuidanceOptions(
        num_cutouts=arguments.cutouts,
        cutouts_at_once=at_once,
        remat=arguments.remat,
      )
      dtype = jnp.dtype(arguments.dtype)
      start = time.monotonic()
      compiled = lower(size, options, dtype, sharding).compile()
      seconds = time.monotonic() - start
      bytes_ = compiled.memory_analysis().temp_size_in_bytes
      cycles = '-'
      if arguments.tpu:
        cycles = f'{hlo.Program(compiled.as_text()).cycles / 1e6:.1f} M'
      print(
        f'| {size} | {arguments.cutouts} | {at_once} | {bytes_ / MIB:,.0f} MiB '
        f'| {cycles} | {seconds:.0f} s |',
        flush=True,
      )


if __name__ == '__main__':
  main()
