"""Plans: a training step is compiled for devices that are not there."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from tests.train import tiny_configs
from train import config as config_lib
from train import plan
from train import run as run_lib
from train.planning import abstract
from train.planning import chips
from vq_jax.config import schema

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
MASKGIT = f'{CONFIGS}/quickstart_maskgit.py:smoke'
TOKENIZER = f'{CONFIGS}/quickstart_tokenizer.py:smoke'


def make_plan(capsys, *arguments: str) -> dict:
  assert plan.main([*arguments, '--json']) == 0
  return json.loads(capsys.readouterr().out)


def get_shapes(tree):
  return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def test_data_parallel_training_exchanges_its_gradients_once(capsys):
  found = make_plan(capsys, '--config', MASKGIT, '--topology', 'cpu:2')
  (step,) = found['programs']
  kinds = step['memory']['kinds']
  gradients = 4 * found['parameters']
  assert kinds['parameters'] == gradients
  assert 2 * gradients <= kinds['optimizer'] < 2.1 * gradients
  assert kinds['frozen'] > 0  # the tokenizer, of which no run is needed
  traffic = step['traffic']
  assert list(traffic) == ['all-reduce']
  # The embeddings of tokens are also the weights of the logits, and in this
  # small model a fifth of the parameters.
  assert gradients <= traffic['all-reduce']['bytes'] < 1.5 * gradients
  total = step['memory']['total']
  assert total > sum(kinds.values()) + step['memory']['temporaries']
  assert found['memory'] == {'peak': total, 'available': None, 'fits': None}
  assert found['flops_per_image'] * found['batch_size'] == found['flops']
  assert found['seconds'] is None  # no cost model of the CPU


def test_a_plan_says_whether_it_fits(capsys):
  arguments = ['--config', TOKENIZER, '--topology', 'cpu:1', '--memory']
  assert plan.main([*arguments, '1']) == 0
  assert 'it fits into 1.00 GiB' in capsys.readouterr().out
  assert plan.main([*arguments, '1e-6']) == 0
  assert 'it DOES NOT FIT' in capsys.readouterr().out


@pytest.mark.slow
def test_the_largest_batch_is_planned_if_that_of_the_config_does_not_fit(
  capsys,
):
  arguments = ['--config', TOKENIZER, '--topology', 'cpu:1', '--fit']
  found = make_plan(
    capsys, *arguments, '--memory=0.004', '--config.data.batch_size=16'
  )
  assert found['memory']['fits']
  assert 0 < found['largest_batch'] == found['batch_size'] < 16


@pytest.mark.parametrize('most', [0, 1, 5, 8, 23])
@pytest.mark.parametrize('start', [1, 3, 8])
def test_the_largest_batch_fits_and_one_more_does_not(most, start):
  assert plan.find_largest(lambda n: n <= most, start) == most


@pytest.mark.parametrize('most', [100, 1000, 17_504])
def test_a_large_batch_is_found_in_few_tries(most):
  tries = []
  found = plan.find_largest(lambda n: tries.append(n) or n <= most, 64)
  assert 63 / 64 * most < found <= most
  assert len(tries) < 18


def test_sampling_is_planned_as_generate_runs_it(capsys):
  arguments = ['--config', MASKGIT, '--topology', 'cpu:2', '--sample']
  found = make_plan(capsys, *arguments, '--config.sampler.guidance=2')
  names = [program['name'] for program in found['programs']]
  assert names == ['sampler of level 0', 'decoder']
  assert found['steps'] is None
  assert all(not program['traffic'] for program in found['programs'])


def test_a_planned_state_has_the_shapes_of_the_real_one(
  source, tokenizer, tmp_path
):
  config = tiny_configs.prior(source, tokenizer)
  training = abstract.open_training(
    abstract.ConfigFile(config=config_lib.parse_config(config), learns_from={})
  )
  with run_lib.open_run(config, tmp_path) as run:
    assert get_shapes(training.state) == get_shapes(run.state)
    batch = next(run.batches)
    assert training.intervals == run.intervals
  assert get_shapes(training.get_batch(len(batch['label']))) == get_shapes(
    batch
  )


def test_networks_of_the_loss_and_phases_need_no_weights():
  file = abstract.ConfigFile.load(f'{CONFIGS}/vqgan_f16_1024_imagenet256.py')
  training = abstract.open_training(file)
  sizes = [x.size for x in jax.tree.leaves(training.state.frozen['lpips'])]
  assert sum(sizes) == 14_714_688 + 64 + 128 + 256 + 512 + 512  # VGG16, heads
  assert training.examples.image_shape == (256, 256, 3)
  assert training.num_parameters == 72_141_699
  first, last = (training.task.get_phase(step) for step in (0, 400_000))
  assert not first.discriminator and last.discriminator


def test_tokens_that_are_not_there_are_those_of_the_tokenizer():
  file = abstract.ConfigFile.load(
    f'{CONFIGS}/maskgit_imagenet256.py', [('data.source', 'tokens:nowhere')]
  )
  training = abstract.open_training(file)
  batch = training.get_batch(8)
  assert {name: x.shape for name, x in batch.items()} == {
    'tokens': (8, 16, 16),
    'label': (8,),
  }
  assert training.num_parameters == 172_457_193


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--topology', 'v5x:2x2'], 'v5e'),
    (['--topology', 'h100:8'], 'GPU'),
    (['--topology', 'v5e:4'], 'v5e:4x4'),
    (['--topology', 'v5e:32x32'], 'at most 256 chips'),
    (['--topology', 'cpu:0'], 'at least 1'),
    (['--topology', 'cpu:2', '--mesh', 'data=3'], 'mesh'),
    (['--topology', 'cpu:2', '--mesh', 'data=1'], 'the mesh has 1 devices'),
    (['--topology', 'cpu:2', '--mesh', 'model=2'], 'model'),
    (['--topology', 'cpu:3'], 'multiple of 3'),
    (['--topology', 'cpu:1', '--fit'], '--memory'),
    (['--topology', 'cpu:1', '--config.parallel.mode=pmap'], 'mode=jit'),
    (['--topology', 'cpu:1', '--config.data.source=folder:x'], 'one shape'),
  ],
)
def test_what_cannot_be_planned_is_said_in_one_line(arguments, message, capsys):
  assert plan.main(['--config', TOKENIZER, *arguments]) == 1
  (line,) = [
    line
    for line in capsys.readouterr().err.splitlines()
    if not line.startswith('compiling')
  ]
  assert line.startswith('error: ') and message in line


def test_an_autoencoder_is_not_sampled(capsys):
  arguments = ['--config', TOKENIZER, '--topology', 'cpu:1', '--sample']
  assert plan.main(arguments) == 1
  assert 'trains none' in capsys.readouterr().err


def test_a_run_that_is_not_there_can_be_named_by_its_config(tmp_path, capsys):
  config = tmp_path / 'own.py'
  config.write_text(
    f'import sys\nsys.path.insert(0, {str(CONFIGS.parent)!r})\n'
    'from configs import quickstart_maskgit\n'
    'get_config = quickstart_maskgit.get_config\n'
  )
  arguments = ['--config', f'{config}:smoke', '--topology', 'cpu:1']
  assert plan.main([*arguments, '--config.autoencoder=runs/none']) == 1
  assert '--config.autoencoder=configs/NAME.py' in capsys.readouterr().err
  file = abstract.ConfigFile.load(
    f'{config}:smoke', [('autoencoder', TOKENIZER)]
  )
  assert abstract.open_training(file).state.frozen['autoencoder']


def test_libtpu_is_an_extra(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(schema.ConfigError, match=r'vq_jax\[plan\]'):
    chips.open_topology('v5e:2x2')


@pytest.mark.slow
def test_a_step_is_compiled_for_tpus():
  if importlib.util.find_spec('libtpu') is None:
    pytest.skip('needs libtpu')
  arguments = ['--config', MASKGIT, '--topology', 'v5e:2x2', '--json']
  # libtpu does not know all flags that the tests set for the CPU.
  done = subprocess.run(
    [sys.executable, '-m', 'train.plan', *arguments],
    env={**os.environ, 'XLA_FLAGS': ''},
    cwd=CONFIGS.parent,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  (step,) = found['programs']
  assert found['memory']['fits']
  assert step['cycles'] > 0 and 0 < found['share_of_peak'] < 1
  gradients = 4 * found['parameters']
  assert gradients <= step['traffic']['all-reduce']['bytes'] < 1.3 * gradients


@pytest.mark.parametrize(
  ('name', 'grid'),
  [
    ('maskgit_imagenet256', (16, 16)),
    ('maskgit_imagenet512', (32, 32)),
    ('token_critic_imagenet256', (16, 16)),
    ('vit_vqgan_vim_base_imagenet256', (32, 32)),
    ('vqvae2_bottom_imagenet256', (64, 64)),
  ],
)
def test_tokens_that_are_not_there_are_those_of_the_images(name, grid):
  file = abstract.ConfigFile.load(
    f'{CONFIGS}/{name}.py', [('data.source', 'tokens:nowhere')]
  )
  batch = abstract.open_training(file).get_batch(2)
  shapes = [x.shape for key, x in batch.items() if key != 'label']
  assert (2, *grid) in shapes


def test_an_autoencoder_is_not_planned_on_tokens(capsys):
  arguments = ['--config', TOKENIZER, '--topology', 'cpu:1']
  assert plan.main([*arguments, '--config.data.source=tokens:nowhere']) == 1
  assert 'learns from images' in capsys.readouterr().err
