"""Compilation of a program, and what the compiler says of it."""

import collections
import dataclasses
import re
import time
from collections.abc import Mapping

import jax

from train import partitioning
from train.planning import hlo
from train.planning.chips import Chip
from train.planning.programs import Source

_OPERATIONS = 10


class DoesNotFit(Exception):
  """The compiler refuses a program that needs more memory than there is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
  """Bytes on each device.

  Attributes:
    kinds: kind -> the bytes of arguments of this kind, as they are counted
      before the compiler pads them.
    arguments: all arguments.
    temporaries: what lives only while the program runs.
    outputs: all results.
    aliased: results that overwrite arguments.
    program: the program itself.
    kept: what is neither an argument nor a result: batches that are put on the
      devices ahead of time.
  """

  kinds: Mapping[str, int]
  arguments: int
  temporaries: int
  outputs: int
  aliased: int
  program: int
  kept: int

  @property
  def total(self) -> int:
    """All that must fit at the same time."""
    return (
      self.arguments
      + self.temporaries
      + self.outputs
      - self.aliased
      + self.program
      + self.kept
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traffic:
  """What one kind of collective exchanges in a run of the program.

  Attributes:
    bytes: size of the arrays on a device.
    number: how many of them run.
    sent: bytes that a device sends at least.
  """

  bytes: int
  number: int
  sent: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
  """What the compiler says of a program.

  Attributes:
    name: what the program does.
    memory: bytes on each device.
    flops: operations of all devices together.
    cycles: estimated cycles of a device, without communication; 0 if the
      compiler does not estimate them.
    least_cycles: the same, with the cheapest branches of conditionals.
    traffic: kind of a collective -> what it exchanges.
    operations: those with most cycles.
    unknown_loops: number of loops whose trips the compiler does not know; they
      count once.
    compile_seconds: how long the compilation took.
  """

  name: str
  memory: Memory
  flops: int
  cycles: int
  least_cycles: int
  traffic: Mapping[str, Traffic]
  operations: tuple[hlo.Operation, ...]
  unknown_loops: int
  compile_seconds: float

  def get_compute_seconds(self, chip: Chip) -> float:
    """Returns the time of the estimated cycles."""
    return self.cycles / chip.clock

  def get_communication_seconds(self, chip: Chip) -> float:
    """Returns the time of all traffic, if it uses all links of a chip."""
    return sum(t.sent for t in self.traffic.values()) / chip.bandwidth


def compile_program(source: Source) -> Figures:
  """Compiles a program, and returns what the compiler says of it.

  Raises:
    DoesNotFit: if the compiler finds that it needs too much memory.
  """
  return get_figures(source, *compile_source(source))


def compile_source(source: Source) -> tuple[jax.stages.Compiled, float]:
  """Compiles a program.

  Returns:
    the compiled program, and the seconds that its compilation took.

  Raises:
    DoesNotFit: if the compiler finds that it needs too much memory.
  """
  start = time.monotonic()
  lowered = source.traced.lower()
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    text = str(error)
    if 'RESOURCE_EXHAUSTED' not in text:
      raise
    raise DoesNotFit(_get_reason(text)) from error
  return compiled, time.monotonic() - start


def get_figures(
  source: Source, compiled: jax.stages.Compiled, seconds: float
) -> Figures:
  """Returns what the compiler says of a program.

  Args:
    source: the program before its compilation.
    compiled: the compiled program.
    seconds: how long the compilation took.
  """
  program = hlo.Program(compiled.as_text())
  return Figures(
    name=source.name,
    memory=get_memory(source, compiled),
    flops=source.flops,
    cycles=program.cycles,
    least_cycles=program.least_cycles,
    traffic=_sum_traffic(program),
    operations=tuple(program.get_operations()[:_OPERATIONS]),
    unknown_loops=len(program.unknown),
    compile_seconds=seconds,
  )


def _get_reason(text: str) -> str:
  """Returns the sentence of an error that names the memory."""
  lines = [line for line in text.splitlines() if 'memory' in line.lower()]
  line = (lines or text.splitlines())[0]
  return re.sub(r'^.*?(?=Ran out of memory)', '', line).strip()


def get_memory(source: Source, compiled: jax.stages.Compiled) -> Memory:
  """Returns the bytes that a compiled program needs on each device."""
  found = compiled.memory_analysis()
  shapes = source.group(source.arguments)
  shardings = source.group(source.shardings)
  kinds = {
    name: partitioning.bytes_per_device(tree, shardings[name])
    for name, tree in shapes.items()
  }
  return Memory(
    kinds={name: size for name, size in kinds.items() if size},
    # The compiler leaves out arguments that the program does not read.
    arguments=max(found.argument_size_in_bytes, sum(kinds.values())),
    temporaries=found.temp_size_in_bytes,
    outputs=found.output_size_in_bytes,
    aliased=found.alias_size_in_bytes,
    program=found.generated_code_size_in_bytes,
    kept=source.kept,
  )


def _sum_traffic(program: hlo.Program) -> dict[str, Traffic]:
  size, sent = collections.Counter(), collections.Counter()
  number = collections.Counter()
  for found in program.get_collectives():
    size[found.kind] += found.times * found.bytes
    number[found.kind] += found.times
    sent[found.kind] += found.sent
  return {
    kind: Traffic(bytes=size[kind], number=number[kind], sent=sent[kind])
    for kind in hlo.COLLECTIVES
    if number[kind]
  }
