"""Training in bfloat16 on a CPU.

A product is fast there if its factors are bfloat16 and it returns float32.
"""

import pathlib
import re

import jax
import pytest

from tests.benchmarks.speed import training as training_lib
from train import sharding
from train.planning import programs
from vq_jax.config import schema

ROOT = pathlib.Path(__file__).parents[2]
# (config, whether it learns from tokens)
CONFIGS = [
  ('quickstart_maskgit', True),
  ('maskgit_imagenet256', True),
  ('halton_maskgit_base_imagenet256', True),
  ('vqgan_transformer_f16_1024_imagenet256', True),
  ('vit_vqgan_small_imagenet256', False),
]
_PRODUCT = re.compile(
  r'dot_general.*: \(tensor<.*x(\w+)>, tensor<.*x(\w+)>\) -> tensor<.*x(\w+)>'
)


@pytest.mark.parametrize(('config', 'tokens'), CONFIGS)
def test_all_products_of_transformers_are_fast(config, tokens):
  training = training_lib.open_training(
    f'{ROOT}/configs/{config}.py:smoke',
    {'model': {'transformer': {'dtype': 'bfloat16'}}},
    tokens=tokens,
  )
  runner = sharding.make_runner(schema.ParallelConfig(), jax.devices()[:1])
  phase = training.task.get_phase(training.intervals.total - 1)
  source = programs.trace_step(training, runner, phase, batch_size=4)
  kinds = _PRODUCT.findall(source.traced.lower().as_text())
  computed = [kind for kind in kinds if 'bf16' in kind]
  assert len(computed) > 20
  assert set(computed) == {('bf16', 'bf16', 'f32')}
