"""Runs items in processes of their own, so that nothing that fails ends all.

The items of a group share a process, which appends a line of JSON to a file
when an item begins and when it is done. If the process dies, the item that was
being measured has failed, and another process goes on with the next one. The
program that reports starts no device itself.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from tests.benchmarks.speed import report as report_lib
from train import huge_pages

# The environment of the processes of a group. JAX and PyTorch share the memory
# of a GPU only if JAX does not take all of it.
ENVIRONMENT = {
  'peers': {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'},
  '': {'XLA_PYTHON_CLIENT_MEM_FRACTION': '.92'},
}
PATIENCE = 20  # seconds beyond the deadline


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
  """A benchmark that is run from the command line.

  Attributes:
    module: name of the module whose `main` it is.
    description: what it does.
    minutes: how long it takes by default.
    summarize: all figures -> lines that are printed after the table.
  """

  module: str
  description: str
  minutes: float
  summarize: Callable[[Mapping[str, dict]], list[str]] | None = None

  def make_parser(self) -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
      prog=f'python -m {self.module}', description=self.description
    )
    parser.add_argument(
      '--minutes',
      type=float,
      default=self.minutes,
      help='how long all takes; items for which no time is left are skipped '
      f'(default: {self.minutes:g})',
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
      '--quick', action='store_true', help='fewer items, shorter measurements'
    )
    size.add_argument(
      '--smoke', action='store_true', help='tiny models, to try the program'
    )
    parser.add_argument(
      '--peer', action='store_true', help='compare with PyTorch, in turns'
    )
    parser.add_argument(
      '--only', metavar='REGEX', help='measure only items of such a name'
    )
    parser.add_argument(
      '--json',
      type=pathlib.Path,
      metavar='FILE',
      help='a file that is written after each item',
    )
    # What a process that measures is given.
    parser.add_argument('--worker', metavar='FILE', help=argparse.SUPPRESS)
    parser.add_argument('--items', nargs='*', help=argparse.SUPPRESS)
    parser.add_argument('--deadline', type=float, help=argparse.SUPPRESS)
    return parser

  def run(self, items: Sequence, arguments: argparse.Namespace) -> int:
    """Measures items, or, in a process of this program, some of them.

    Returns:
      the exit code: 1 if an item failed.
    """
    if arguments.worker:
      return measure(items, arguments)
    items = [
      item
      for item in items
      if (arguments.peer or item.group != 'peers')
      and re.search(arguments.only or '', item.name)
    ]
    deadline = time.time() + 60 * arguments.minutes
    report = report_lib.Report(arguments.json, ' '.join(sys.argv))
    for group in dict.fromkeys(item.group for item in items):
      names = [item.name for item in items if item.group == group]
      for name, figures in self._measure_group(
        group, names, arguments, deadline
      ):
        if name is None:
          report.set_machine(figures)
        else:
          report.add(name, figures)
    report.finish(self.summarize)
    return int(any('error' in f for f in report.content['items'].values()))

  def _measure_group(
    self, group: str, names: list[str], arguments, deadline: float
  ) -> Iterator[tuple[str | None, dict]]:
    """Yields the figures of items, and those of the machine with None."""
    pending = list(names)
    while pending and time.time() < deadline:
      with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / 'events.jsonl'
        file.touch()
        process = self._start(group, pending, arguments, deadline, file)
        begun = None
        for event in _follow(process, file, deadline + PATIENCE):
          if event['kind'] == 'begin':
            begun = event['item']
          elif event['kind'] == 'machine':
            yield None, event['figures']
          else:
            begun = None
            pending.remove(event['item'])
            yield event['item'], event['figures']
        if pending and (begun or time.time() < deadline):
          # Without an item that has begun, the process itself cannot start.
          failed = begun or pending[0]
          pending.remove(failed)
          late = time.time() > deadline
          reason = 'no time was left' if late else 'its process ended'
          yield failed, {'error': f'{reason} ({process.returncode})'}
    for name in pending:
      yield name, {'note': 'skipped: no time is left'}

  def _start(
    self, group: str, names: list[str], arguments, deadline: float, file
  ) -> subprocess.Popen:
    """Starts a process that measures items."""
    command = [sys.executable, '-m', self.module]
    command += ['--worker', str(file), '--deadline', str(deadline)]
    command += [f'--minutes={arguments.minutes}', '--items', *names]
    if arguments.smoke or arguments.quick:
      command.append('--smoke' if arguments.smoke else '--quick')
    environment = {**ENVIRONMENT.get(group, ENVIRONMENT['']), **os.environ}
    if group == 'training':  # as the training programs do
      environment |= huge_pages.get_environment()
    return subprocess.Popen(command, env=environment, stdout=sys.stderr)


def _follow(
  process: subprocess.Popen, file: pathlib.Path, end: float
) -> Iterator[dict]:
  """Yields the events of a process until it ends; it is killed at `end`."""
  with file.open() as lines:
    rest = ''
    while True:
      ended = process.poll() is not None
      rest += lines.read()
      *complete, rest = rest.split('\n')
      yield from map(json.loads, complete)
      if ended:
        return
      if time.time() > end:
        process.kill()
        process.wait()
      time.sleep(0.1)


def measure(items: Sequence, arguments: argparse.Namespace) -> int:
  """Measures items in this process, and writes events into a file."""
  from tests.benchmarks.speed.items import Context
  from vq_jax.utils import cpu

  chosen = [item for item in items if item.name in arguments.items]
  context = Context(
    smoke=arguments.smoke,
    seconds=0.1 if arguments.smoke else 1.0 if arguments.quick else 3.0,
    deadline=arguments.deadline,
  )
  if chosen[0].group in ('training', 'peers'):
    cpu.use_cpu_cores(1 << 20)
  with open(arguments.worker, 'a') as file:

    def write(kind: str, **content) -> None:
      file.write(json.dumps({'kind': kind, **content}) + '\n')
      file.flush()

    on_device = chosen[0].group not in ('laws', 'reading')
    if on_device:
      write('machine', figures=dataclasses.asdict(context.machine))
    for item in chosen:
      if context.seconds_left < 0:
        break
      write('begin', item=item.name)
      try:
        before = context.measure_rate() if on_device else None
        figures = item.measure(context)
        if figures.get('flops'):
          after = context.measure_rate()
          rate = figures.get('devices', 1) * (before + after) / 2
          per_second = figures['flops'] / figures['ms'] * 1e3
          figures |= {'rate': rate, 'share': per_second / rate}
      except Exception as error:
        traceback.print_exc()
        figures = {'error': report_lib.explain(error)}
      write('end', item=item.name, figures=figures)
  return 0
