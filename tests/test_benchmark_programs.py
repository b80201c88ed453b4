"""Programs that measure speed lose no result, whatever happens to an item."""

import collections
import ctypes
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.extend
import pytest

from tests.benchmarks import accelerator
from tests.benchmarks import all as all_items
from tests.benchmarks.speed import items
from tests.benchmarks.speed import laws
from tests.benchmarks.speed import report
from tests.benchmarks.speed import timing
from train import huge_pages
from train import sharding
from train.planning import flops
from train.planning import programs

ROOT = pathlib.Path(__file__).parents[1]
PROGRAM = """
import os
import sys
import time

from tests.benchmarks.speed import runner
from tests.benchmarks.speed.items import Item

def crash(context):
  os._exit(3)

def fail(context):
  raise ValueError('such | an error')

def wait(context):
  time.sleep(context.seconds_left + 1)
  return {'note': 'late'}

ITEMS = [
  # A group that starts no device.
  Item(name=name, measure=measure, group='reading')
  for name, measure in {
    'first': lambda context: {'batch': 2, 'images_per_s': 5.0},
    'failing': fail,
    'crashing': crash,
    'after a crash': lambda context: {'note': 'done'},
    'waiting': wait,
    'too late': lambda context: {'note': 'done'},
  }.items()
]

program = runner.Program(
  module='own_benchmark', description='A test.', minutes=1
)
if __name__ == '__main__':
  sys.exit(program.run(ITEMS, program.make_parser().parse_args()))
"""


def run(module: str, *arguments: str, environment=None):
  """Returns the exit code, the lines that are printed, and the last as JSON."""
  done = subprocess.run(
    [sys.executable, '-m', module, *arguments],
    env=environment,
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  *lines, last = done.stdout.splitlines() or [done.stderr]
  return done.returncode, lines, json.loads(last)


@pytest.mark.slow
def test_each_item_is_reported_whatever_happens_to_it(tmp_path):
  (tmp_path / 'own_benchmark.py').write_text(PROGRAM)
  path = os.pathsep.join([str(tmp_path), str(ROOT)])
  file = tmp_path / 'all.json'
  code, lines, found = run(
    'own_benchmark',
    '--minutes=0.3',
    f'--json={file}',
    environment={**os.environ, 'PYTHONPATH': path},
  )
  assert code == 1
  assert json.loads(file.read_text())['items'] == found['items']
  assert found['items'] == {
    'first': {'batch': 2, 'images_per_s': 5.0},
    'failing': {'error': 'ValueError: such | an error'},
    'crashing': {'error': 'its process ended (3)'},
    'after a crash': {'note': 'done'},
    'waiting': {'note': 'late'},
    'too late': {'note': 'skipped: no time is left'},
  }
  table = [line for line in lines if line.startswith('| ')]
  assert len(table) == 1 + len(found['items'])
  assert {line.count('|') for line in table} == {len(report.COLUMNS) + 1}


@pytest.mark.parametrize('group', ['training', 'inference', 'peers'])
def test_steps_get_the_huge_pages_of_the_training_programs(group, monkeypatch):
  changes = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}
  monkeypatch.setattr(huge_pages, 'get_environment', lambda: changes)
  monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
  started = []
  monkeypatch.setattr(
    subprocess, 'Popen', lambda command, env, stdout: started.append(env)
  )
  arguments = all_items.PROGRAM.make_parser().parse_args(['--quick'])
  all_items.PROGRAM._start(group, ['an item'], arguments, 0.0, pathlib.Path())
  (environment,) = started
  assert ('GLIBC_TUNABLES' in environment) == (group == 'training')


@pytest.mark.slow
def test_a_step_is_measured_with_jax_and_flax_alone(bare_environment):
  code, lines, found = run(
    'tests.benchmarks.accelerator',
    '--smoke',
    '--only=training step: VIM',
    environment=bare_environment,
  )
  (figures,) = found['items'].values()
  assert code == 0, figures
  assert 0 < figures['loss'] < 20 and figures['images_per_s'] > 0
  assert 0 < figures['share'] < 10 and figures['memory'] > 0
  assert found['machine']['platform'] == 'cpu'


@pytest.mark.slow
@pytest.mark.parametrize('module', ['accelerator', 'all'])
def test_all_items_work(module, bare_environment):
  """The laws are tests of their own, which run beside this one."""
  environment = bare_environment if module == 'accelerator' else None
  _, _, found = run(
    f'tests.benchmarks.{module}',
    '--smoke',
    '--minutes=30',
    '--only=^(?!laws)',
    environment=environment,
  )
  failed = {
    name: figures['error']
    for name, figures in found['items'].items()
    if 'error' in figures
  }
  assert not failed and len(found['items']) > 8


@pytest.mark.slow
def test_all_comparisons_work():
  pytest.importorskip('torch')
  _, _, found = run(
    'tests.benchmarks.accelerator',
    '--smoke',
    '--peer',
    '--only=beside',
    '--minutes=30',
  )
  rates = [f.get('peer_images_per_s') for f in found['items'].values()]
  assert len(rates) == 7 and all(rates[1:])


@pytest.mark.slow
@pytest.mark.parametrize('name', accelerator.TRAINING)
def test_steps_of_published_sizes_compute_in_bfloat16(name):
  context = items.Context(smoke=False, seconds=1.0, deadline=0.0)
  context.__dict__['machine'] = timing.Machine(
    platform='gpu',
    kind='one that is not there',
    devices=1,
    dtype='bfloat16',
    size=8192,
    rate_of_one=1.0,
    memory=72 * 2**30,
  )
  model = accelerator.TRAINING[name]
  training = model.open(context)
  assert model.get_batch(context) == model.batch
  runner = sharding.make_runner(training.config.parallel, jax.devices()[:1])
  step = programs.trace_step(
    training, runner, training.task.get_phase(training.intervals.total - 1), 8
  )
  operations = get_operations(step.traced.jaxpr.jaxpr)
  assert operations['bfloat16'] > 0.85 * sum(operations.values())


def get_operations(jaxpr) -> collections.Counter:
  """Returns the operations by the dtype of both factors, of all branches."""
  found = collections.Counter()
  for equation in jaxpr.eqns:
    times = equation.params.get('length', 1)
    inner = [get_operations(sub) for sub in flops._inner_jaxprs(equation)]
    for counter in inner:
      found.update({key: times * n for key, n in counter.items()})
    if equation.primitive.name in ('dot_general', 'conv_general_dilated'):
      kinds = {str(x.aval.dtype) for x in equation.invars}
      alone = jax.extend.core.Jaxpr((), equation.invars, (), [equation])
      found[' and '.join(sorted(kinds))] += flops.count(alone)
  return found


def test_the_first_batch_that_fits_is_the_largest():
  tried = []

  def attempt(batch):
    tried.append(batch)
    if batch > 8:
      raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 1 byte')
    return batch

  assert timing.halve_until_it_fits(attempt, 32) == 8
  assert tried == [32, 16, 8]
  with pytest.raises(RuntimeError, match='RESOURCE'):
    timing.halve_until_it_fits(attempt, 32, smallest=16)


def test_other_errors_are_not_tried_again():
  def attempt(batch):
    raise ValueError(f'a batch of {batch}')

  with pytest.raises(ValueError, match='a batch of 32'):
    timing.halve_until_it_fits(attempt, 32)


def test_failing_laws_are_named(tmp_path, monkeypatch):
  (tmp_path / 'tests').mkdir()
  (tmp_path / 'tests/test_a.py').write_text(
    'def test_one():\n  pass\n\ndef test_two():\n  assert 1 == 2\n'
  )
  (tmp_path / 'tests/test_b.py').write_text('import no_such_package\n')
  monkeypatch.setattr(laws, 'ROOT', tmp_path)
  found = laws.run_tests(('test_a.py', 'test_b.py'), 60)
  assert found['passed'] == 1
  assert found['failed'] == ['test_a.py::test_two', 'test_b.py']


def test_all_laws_exist():
  assert all((ROOT / 'tests' / file).is_file() for file in laws.LAWS)


def test_a_slow_first_run_counts_only_if_it_is_the_best(monkeypatch):
  now, runs = 0.0, []
  monkeypatch.setattr(timing.time, 'perf_counter', lambda: now)

  def take(*seconds):
    left = list(seconds)

    def repeat(n):
      nonlocal now
      runs.append(n)
      now += sum(left.pop(0) if len(left) > 1 else left[0] for _ in range(n))

    return repeat

  assert timing.time_repeats(take(5.0, 2.0), 1.0) == 2.0
  assert runs == [1, 1]
  runs.clear()
  assert timing.time_repeats(take(0.125), 3.0) == 0.125
  assert runs == [1, 8, 8, 8]


@pytest.mark.skipif(
  not hasattr(ctypes.CDLL(None), 'mallopt'), reason='an option of glibc'
)
def test_freed_memory_is_kept():
  """The second array of a size reuses the pages of the first."""
  program = """
import resource
import numpy as np
from tests.benchmarks.speed import beside

def count_new_pages():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  np.empty(2**26, np.uint8).fill(1)
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

beside.keep_freed_memory()
print(count_new_pages(), count_new_pages())
"""
  done = subprocess.run(
    [sys.executable, '-c', program],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  first, second = map(int, done.stdout.split())
  assert 10 * second < first
