"""Reading of compiled programs: the text of HLO after all optimizations.

A computation that a loop calls stands in the text once, so each figure here is
multiplied by the number of times that its computation runs.
"""

import collections
import dataclasses
import functools
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from train.planning.instructions import Instruction

COLLECTIVES = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'collective-permute',
  'all-to-all',
)

# What a kernel in Pallas tells of itself stands on a line of its own.
_KERNEL = re.compile(r'kernel_metadata=\{\n(.*)\n\}')
_COMPUTATION = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\{\s*$')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collective:
  """The exchange of data between devices by one instruction.

  Attributes:
    kind: one of `COLLECTIVES`.
    bytes: size of the whole array on a device: the operand, and of an
      all-gather the result.
    times: how often it runs.
    group_size: number of devices among which it is exchanged.
  """

  kind: str
  bytes: int
  times: int
  group_size: int

  @property
  def sent(self) -> float:
    """Bytes that a device sends at least, in all runs together."""
    n = self.group_size
    share = {'all-reduce': 2 * (n - 1) / n, 'collective-permute': 1.0}
    return self.times * self.bytes * share.get(self.kind, (n - 1) / n)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operation:
  """The cycles of all instructions that one operation of JAX has become.

  Attributes:
    name: its path.
    cycles: of all runs together.
    times: number of runs of its instructions.
    example: the name of one of its instructions.
  """

  name: str
  cycles: int
  times: int
  example: str


class Program:
  """A compiled program.

  Attributes:
    computations: name -> instructions.
    entry: name of the computation that runs first.
    times: name -> how often it runs; of a conditional, the branch with most
      cycles is counted.
    unknown: names of the loops whose number of trips is not known; they count
      as one trip.
  """

  def __init__(self, text: str):
    """Reads `compiled.as_text()`."""
    self.computations: dict[str, list[Instruction]] = {}
    self.entry = ''
    current: list[Instruction] = []
    for line in _KERNEL.sub(r'kernel_metadata={\1}', text).splitlines():
      if found := _COMPUTATION.match(line):
        current = self.computations.setdefault(found[2], [])
        self.entry = found[2] if found[1] else self.entry
      elif instruction := Instruction.read(line):
        current.append(instruction)
    self._cycles = functools.cache(self._get_cycles)
    self.times: dict[str, int] = collections.Counter()
    self._fused: set[str] = set()
    self.unknown: set[str] = set()
    self._count(self.entry, 1)

  @property
  def cycles(self) -> int:
    """The estimated cycles, with the dearest branches of conditionals."""
    return self._cycles(self.entry, max)

  @property
  def least_cycles(self) -> int:
    """The estimated cycles, with the cheapest branches of conditionals."""
    return self._cycles(self.entry, min)

  def _get_cycles(
    self, name: str, choose: Callable[[Iterable[int]], int]
  ) -> int:
    total = 0
    for instruction in self.computations.get(name, ()):
      total += instruction.cycles
      if instruction.opcode != 'fusion':
        total += sum(
          n * self._cycles(called, choose)
          for called, n in self._get_calls(name, instruction)
        )
      branches = instruction.branches
      if branches:
        total += choose(self._cycles(branch, choose) for branch in branches)
    return total

  def _count(self, name: str, times: int) -> None:
    self.times[name] += times
    for instruction in self.computations.get(name, ()):
      for called, n in self._get_calls(name, instruction):
        if instruction.opcode == 'fusion':
          self._fused.add(called)
        self._count(called, times * n)
      branches = instruction.branches
      if branches:
        dearest = max(branches, key=lambda name: self._cycles(name, max))
        self._count(dearest, times)

  def _get_calls(
    self, name: str, instruction: Instruction
  ) -> Iterator[tuple[str, int]]:
    """Yields the computations that an instruction runs, and how often.

    Branches of a conditional are not among them, nor are the functions of two
    numbers of reductions.

    Args:
      name: of the computation that holds the instruction.
      instruction: the instruction.
    """
    if instruction.opcode == 'while':
      trips = self._get_trips(name, instruction)
      if trips is None:
        self.unknown.add(instruction.name)
      yield instruction.get_called('body'), trips or 1
      yield instruction.get_called('condition'), trips or 1
    elif instruction.opcode == 'call':
      yield instruction.get_called('to_apply'), 1
    elif instruction.opcode == 'fusion' or 'async' in instruction.opcode:
      yield instruction.get_called('calls'), 1

  def _get_trips(self, name: str, loop: Instruction) -> int | None:
    """Returns the number of trips of a loop; None if it is not known.

    It stands beside the loop, or follows from its condition: a counter, which
    rises by 1, is less than a constant.

    Args:
      name: of the computation that holds the loop.
      loop: the loop.
    """
    if loop.trips is not None:
      return loop.trips
    outside = {i.name: i for i in self.computations[name]}
    condition = self.computations.get(loop.get_called('condition'), [])
    inside = {i.name: i for i in condition}
    first = outside.get(loop.operands[0])

    def evaluate(operand: str) -> int | None:
      """Returns an operand of the condition before the first trip."""
      instruction = inside.get(operand)
      if instruction is None or instruction.constant is not None:
        return instruction and instruction.constant
      if instruction.index is None or first is None or first.opcode != 'tuple':
        return None
      given = outside.get(first.operands[instruction.index])
      return given and given.constant

    if not condition or condition[-1].opcode != 'compare':
      return None
    start, end = (evaluate(operand) for operand in condition[-1].operands)
    return None if end is None else max(end - (start or 0), 0)

  def get_collectives(self) -> list[Collective]:
    """Returns all exchanges of data between devices.

    One that overlaps with computation stands in each of the fusions during
    which it runs, and counts once.
    """
    found, overlapped = [], set()
    for name, instructions in self.computations.items():
      sizes = {i.name: i.bytes for i in instructions}
      for instruction in instructions:
        kind = instruction.opcode.removesuffix('-start')
        if kind not in COLLECTIVES or not self.times[name]:
          continue
        channel = instruction.channel
        if name in self._fused and channel is not None:
          if channel in overlapped:
            continue
          overlapped.add(channel)
        size = sum(sizes.get(operand, 0) for operand in instruction.operands)
        if kind == 'all-gather':
          # What starts one returns the operands beside the results.
          started = instruction.opcode != kind
          size = instruction.bytes - (size if started else 0)
        found.append(
          Collective(
            kind=kind,
            bytes=size,
            times=self.times[name],
            group_size=instruction.group_size,
          )
        )
    return found

  def get_operations(self) -> list[Operation]:
    """Returns the operations, those with most cycles first."""
    cycles, times = collections.Counter(), collections.Counter()
    examples: dict[str, str] = {}
    for name, instructions in self.computations.items():
      if name in self._fused or not self.times[name]:
        continue
      for instruction in instructions:
        if not instruction.cycles:
          continue
        key = instruction.op_name or instruction.name
        cycles[key] += self.times[name] * instruction.cycles
        times[key] += self.times[name]
        examples.setdefault(key, instruction.name)
    return [
      Operation(name=k, cycles=n, times=times[k], example=examples[k])
      for k, n in cycles.most_common()
    ]
