"""Plans a training: `python -m train.plan --config FILE --topology v5e:4x4`.

The training step of a config is compiled for chips that are not there. The
compiler tells how much memory it takes, and estimates how long. No data, no
weights and no TPU are needed; the compiler comes with the extra `plan`.
"""

import argparse
import collections
import json
import os
import sys
from collections.abc import Callable
from collections.abc import Hashable

if __name__ == '__main__':
  # libtpu, if it is installed, looks for a TPU as soon as JAX is imported. The
  # devices of this machine, if it has any, take no part in a plan.
  os.environ |= {
    'JAX_PLATFORMS': 'cpu',
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_ACCELERATOR_TYPE': 'v5litepod-16',
    'TPU_WORKER_HOSTNAMES': 'localhost',
  }

from train import errors
from train import main as main_lib
from train import sharding
from train.planning import abstract
from train.planning import chips
from train.planning import figures as figures_lib
from train.planning import programs
from train.planning import report
from vq_jax.config import schema


def parse_arguments(
  argv: list[str],
) -> tuple[argparse.Namespace, list[tuple[str, str]]]:
  """Parses the command line; exits with a message if that fails.

  Returns:
    the arguments, and the overrides of the config: [(key, text)].
  """
  parser = make_parser()
  arguments, rest = parser.parse_known_args(argv)
  overrides = main_lib.parse_overrides(parser, rest)
  for part in filter(None, arguments.mesh.split(',')):
    axis, _, size = part.partition('=')
    overrides.append((f'parallel.{axis}', size))
  return arguments, overrides


def make_parser() -> argparse.ArgumentParser:
  """Returns the parser of the command, without the fields of the config."""
  parser = argparse.ArgumentParser(
    prog='python -m train.plan',
    description='Say what a training or sampling needs, before it runs.',
    epilog=main_lib.OVERRIDES,
    allow_abbrev=False,
  )
  parser.add_argument(
    '--config', required=True, metavar='FILE[:VARIANT]', help='a config file'
  )
  parser.add_argument(
    '--topology',
    required=True,
    metavar='CHIP:SHAPE',
    help=f'such as v5e:4x4; chips: {", ".join(chips.CHIPS)}; cpu:8 are eight '
    'devices of the CPU',
  )
  parser.add_argument(
    '--mesh',
    default='',
    metavar='AXIS=N,...',
    help='the mesh, such as data=64,fsdp=4; short for '
    '--config.parallel.data=64 --config.parallel.fsdp=4',
  )
  parser.add_argument(
    '--sample',
    action='store_true',
    help='plan the sampling of a batch, not the training',
  )
  parser.add_argument(
    '--fit',
    action='store_true',
    help='look for the largest batch that fits; each try is a compilation',
  )
  parser.add_argument(
    '--step',
    type=int,
    metavar='N',
    help='plan the step after N steps, if the training has phases; by default '
    'the last one',
  )
  parser.add_argument(
    '--memory',
    type=float,
    metavar='GIB',
    help='memory of a device, if it is not that of the chip',
  )
  parser.add_argument(
    '--images', type=int, metavar='N', help='number of training images'
  )
  parser.add_argument(
    '--classes', type=int, metavar='N', help='number of classes of the images'
  )
  parser.add_argument('--json', action='store_true', help='print JSON')
  return parser


class Planner:
  """Compiles the programs of a config for a topology."""

  def __init__(
    self,
    arguments: argparse.Namespace,
    file: abstract.ConfigFile,
  ):
    """Opens the topology and the config.

    Args:
      arguments: the command line.
      file: the config.

    Raises:
      ConfigError: if something in either is wrong.
    """
    self._arguments = arguments
    self._compiled: dict[int, tuple[figures_lib.Figures, ...]] = {}
    self._topology = chips.open_topology(arguments.topology)
    self._training = abstract.open_training(
      file, number=arguments.images, num_classes=arguments.classes
    )
    parallel = self._training.config.parallel
    if parallel.mode != 'jit':
      raise schema.ConfigError(
        'a plan compiles by jit; set config.parallel.mode=jit.'
      )
    self._devices = self._topology.devices
    if arguments.sample:  # each host samples images of its own
      self._devices = self._topology.get_host_devices()
    self._runner = sharding.make_runner(parallel, self._devices)
    if self._runner.mesh.size != len(self._devices):
      raise schema.ConfigError(
        f'the mesh has {self._runner.mesh.size} devices, and --topology='
        f'{self._topology.name} has {len(self._devices)}.'
      )

  @property
  def _unit(self) -> int:
    """The number that every batch must be a multiple of."""
    if self._arguments.sample:
      return len(self._devices)
    return self._runner.batch_parts * self._training.config.optim.accumulate

  @property
  def memory(self) -> int | None:
    """Bytes of a device that a program may use; None if not known."""
    if self._arguments.memory is not None:
      return int(self._arguments.memory * chips.GIB)
    chip = self._topology.chip
    return None if chip is None else chip.usable

  def make_plan(self) -> report.Plan:
    """Compiles everything."""
    training = self._training
    size = training.config.data.batch_size
    largest = self._find_largest(size) if self._arguments.fit else None
    if largest is not None and not self._fits(size):
      size = largest
    return report.Plan(
      config=self._arguments.config,
      topology=self._topology,
      devices=len(self._devices),
      mesh=dict(self._runner.mesh.shape),
      phase=None if self._arguments.sample else str(self._get_phase()),
      phases={} if self._arguments.sample else self._get_phases(),
      batch_size=size,
      steps=None if self._arguments.sample else training.intervals.total,
      parameters=training.num_parameters,
      memory=self.memory,
      programs=self._compile(size),
      largest=largest,
    )

  def _get_phase(self) -> Hashable:
    step = self._arguments.step
    last = self._training.intervals.total - 1
    return self._training.task.get_phase(last if step is None else step)

  def _get_phases(self) -> dict[str, float]:
    """Returns the share of each phase in the steps of the training."""
    total = self._training.intervals.total
    get_phase = self._training.task.get_phase
    numbers = collections.Counter(get_phase(step) for step in range(total))
    return {str(phase): n / total for phase, n in numbers.items()}

  def _compile(self, size: int) -> tuple[figures_lib.Figures, ...]:
    """Returns the figures of all programs for a batch on all devices.

    Raises:
      DoesNotFit: if the compiler finds that one needs too much memory.
    """
    if size % self._unit or not size:
      raise schema.ConfigError(
        f'a batch of {size} (config.data.batch_size) must be a multiple of '
        f'{self._unit}: data times fsdp of the mesh, times '
        'config.optim.accumulate.'
      )
    if size not in self._compiled:
      self._compiled[size] = tuple(map(self._compile_one, self._trace(size)))
    return self._compiled[size]

  def _trace(self, size: int) -> list[programs.Source]:
    if self._arguments.sample:
      return programs.trace_sampling(self._training, self._devices, size)
    phase = self._get_phase()
    return [programs.trace_step(self._training, self._runner, phase, size)]

  def _compile_one(self, source: programs.Source) -> figures_lib.Figures:
    print(f'compiling the {source.name} ...', file=sys.stderr, flush=True)
    return figures_lib.compile_program(source)

  def _fits(self, size: int) -> bool:
    """Returns whether a batch of all devices fits."""
    try:
      found = self._compile(size)
      return all(f.memory.total <= self.memory for f in found)
    except figures_lib.DoesNotFit:
      return False

  def _find_largest(self, size: int) -> int:
    """Returns the largest batch of all devices that fits, or 0."""
    if self.memory is None:
      raise schema.ConfigError(
        f'--fit needs the memory of a device of {self._topology.name}: give '
        '--memory.'
      )

    def fits(number: int) -> bool:
      found = self._fits(number * self._unit)
      verdict = 'fits' if found else 'does not fit'
      print(f'a batch of {number * self._unit} {verdict}', file=sys.stderr)
      return found

    return self._unit * find_largest(fits, max(size // self._unit, 1))


def find_largest(fits: Callable[[int], bool], start: int) -> int:
  """Returns the largest number that fits, or 0, by doubling and bisection.

  Above 64 it may be too small by one part in 64, since each try takes a while.

  Args:
    fits: whether a number fits; if one does not, no larger one does.
    start: the first number that is tried.
  """
  low, high = 0, start
  while fits(high):
    low, high = high, 2 * high
  while high - low > max(low // 64, 1):
    middle = (low + high) // 2
    if fits(middle):
      low = middle
    else:
      high = middle
  return low


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  arguments, overrides = parse_arguments(sys.argv[1:] if argv is None else argv)

  def run():
    file = abstract.ConfigFile.load(arguments.config, overrides)
    try:
      plan = Planner(arguments, file).make_plan()
    except figures_lib.DoesNotFit as error:
      raise schema.ConfigError(f'it does not fit: {error}') from error
    print(json.dumps(plan.to_json()) if arguments.json else plan.to_text())

  return errors.run_with_error_messages(run)


if __name__ == '__main__':
  sys.exit(main())
