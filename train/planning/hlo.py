"""Reading of compiled programs: the text of HLO after all optimizations.

A computation that a loop calls stands in the text once, so each figure here is
multiplied by the number of times that its computation runs.
"""

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Iterator
from collections.abc import Sequence

COLLECTIVES = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'collective-permute',
  'all-to-all',
)

_COMPUTATION = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\{\s*$')
_INSTRUCTION = re.compile(r'\s+(?:ROOT )?%?([\w.\-]+) = (.*)$')
_OPCODE = re.compile(r'(?:^|[\s)}])([a-z][a-z0-9\-]*)\(')
_ARRAY = re.compile(r'\b(pred|token|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]')
_NAME = re.compile(r'%([\w.\-]+)')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_CONSTANT = re.compile(r'\bconstant\((-?\d+)\)')
_INDEX = re.compile(r'\bindex=(\d+)')
# The devices of a collective: [groups,size], {{0,1,...},...}, or the names of
# axes of a mesh.
_GROUPS = re.compile(r'replica_groups=\[\d+,(\d+)\]')
_LISTED_GROUPS = re.compile(r'replica_groups=\{\{([\d,]+)\}')
_MESH_GROUPS = re.compile(r'replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instruction:
  """An instruction of a computation.

  Attributes:
    name: its name.
    opcode: what it does, such as 'fusion' or 'all-reduce'.
    bytes: size of its result.
    operands: names of its operands.
    text: the line after the name.
  """

  name: str
  opcode: str
  bytes: int
  operands: tuple[str, ...]
  text: str

  @property
  def cycles(self) -> int:
    """The compiler's estimate of its cycles; 0 if there is none."""
    found = _CYCLES.search(self.text)
    return int(found[1]) if found else 0

  @property
  def op_name(self) -> str:
    """The path of the operation of JAX that it comes from, or ''."""
    found = _OP_NAME.search(self.text)
    return found[1] if found else ''

  @property
  def branches(self) -> tuple[str, ...]:
    """The computations of which a conditional runs one."""
    found = _BRANCHES.search(self.text)
    if found:
      return tuple(_NAME.findall(found[1]))
    names = (self.get_called(f'{which}_computation') for which in _TRUE_FALSE)
    return tuple(name for name in names if name)

  @property
  def group_size(self) -> int:
    """Number of devices among which a collective exchanges data; 1 if none."""
    if found := _GROUPS.search(self.text):
      return int(found[1])
    if found := _LISTED_GROUPS.search(self.text):
      return found[1].count(',') + 1
    if found := _MESH_GROUPS.search(self.text):
      sizes = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
      axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", found[2])
      return math.prod(int(part or sizes[name]) for name, part in axes)
    return 1

  def get_called(self, key: str) -> str:
    """Returns the name of the computation that it calls as `key`, or ''."""
    found = re.search(rf'\b{key}=%?([\w.\-]+)', self.text)
    return found[1] if found else ''


_TRUE_FALSE = ('true', 'false')


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
  """

  def __init__(self, text: str):
    """Reads `compiled.as_text()`."""
    self.computations: dict[str, list[Instruction]] = {}
    self.entry = ''
    current: list[Instruction] = []
    for line in text.splitlines():
      if found := _COMPUTATION.match(line):
        current = self.computations.setdefault(found[2], [])
        self.entry = found[2] if found[1] else self.entry
      elif found := _INSTRUCTION.match(line):
        current.append(_read_instruction(found[1], found[2]))
    self._cycles = functools.cache(self._get_cycles)
    self.times: dict[str, int] = collections.Counter()
    self._fused: set[str] = set()
    self._count(self.entry, 1)

  @property
  def cycles(self) -> int:
    """The estimated cycles, with the dearest branches of conditionals."""
    return self._cycles(self.entry, max)

  @property
  def least_cycles(self) -> int:
    """The estimated cycles, with the cheapest branches of conditionals."""
    return self._cycles(self.entry, min)

  def _get_cycles(self, name: str, choose) -> int:
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
      trips = self.get_trips(name, instruction)
      yield instruction.get_called('body'), trips
      yield instruction.get_called('condition'), trips
    elif instruction.opcode == 'call':
      yield instruction.get_called('to_apply'), 1
    elif instruction.opcode == 'fusion' or 'async' in instruction.opcode:
      yield instruction.get_called('calls'), 1

  def get_trips(self, name: str, loop: Instruction) -> int:
    """Returns the number of trips of a loop; 1 if it is not known.

    It stands beside the loop, or follows from its condition: a counter, which
    rises by 1, is less than a constant.

    Args:
      name: of the computation that holds the loop.
      loop: the loop.
    """
    if found := _TRIPS.search(loop.text):
      return int(found[1])
    condition = self.computations.get(loop.get_called('condition'), [])
    first = {i.name: i for i in self.computations[name]}.get(loop.operands[0])
    if not condition or first is None:
      return 1
    inside = {i.name: i for i in condition}
    outside = {i.name: i for i in self.computations[name]}

    def evaluate(operand: str) -> int | None:
      """Returns the value of an operand before the first trip."""
      instruction = inside.get(operand)
      if instruction is None:
        return None
      if found := _CONSTANT.search(instruction.text):
        return int(found[1])
      index = _INDEX.search(instruction.text)
      if index is None or int(index[1]) >= len(first.operands):
        return None
      given = outside.get(first.operands[int(index[1])])
      found = given and _CONSTANT.search(given.text)
      return int(found[1]) if found else None

    last = condition[-1]
    limits = [evaluate(operand) for operand in last.operands]
    if len(limits) != 2 or limits[1] is None:
      return 1
    return max(limits[1] - (limits[0] or 0), 1)

  def get_collectives(self) -> list[Collective]:
    """Returns all exchanges of data between devices."""
    found = []
    for name, instructions in self.computations.items():
      sizes = {i.name: i.bytes for i in instructions}
      for instruction in instructions:
        kind = instruction.opcode.removesuffix('-start')
        if kind not in COLLECTIVES or not self.times[name]:
          continue
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


def _read_instruction(name: str, text: str) -> Instruction:
  found = _OPCODE.search(text)
  opcode = found[1] if found else ''
  shape = text[: found.start(1)] if found else text
  operands = ''
  if found:
    operands = text[found.end() : text.find(')', found.end())]
  return Instruction(
    name=name,
    opcode=opcode,
    bytes=sum(_get_bytes(kind, dims) for kind, dims in _ARRAY.findall(shape)),
    operands=tuple(_NAME.findall(operands)),
    text=text,
  )


def _get_bytes(kind: str, dims: str) -> int:
  """Returns the size of an array such as ('bf16', '8,128')."""
  bits = 8 if kind == 'pred' else int((re.findall(r'\d+', kind) or [0])[0])
  sizes: Sequence[int] = [int(n) for n in dims.split(',') if n]
  return math.prod(sizes) * bits // 8
