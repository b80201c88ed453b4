"""A plan as text and as JSON."""

import dataclasses
import math
from typing import Any

from train.planning.chips import Topology
from train.planning.figures import Figures

UNKNOWN = (
  'how fast the images can be read, decoded and sent to the devices',
  'how long evaluations, samples and checkpoints take',
  'the network between slices',
  'the real clock under load: the cycles are those of the cost model of the '
  'compiler, at the clock of the published peak',
  'how much of the communication overlaps with computation; the time of a step '
  'adds both',
  'the memory of the hosts',
)

_DAY = 24 * 3600


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
  """What a plan says.

  Attributes:
    config: the config file.
    topology: the devices.
    devices: number of devices that run the programs: all, or for sampling
      those of a host, each of which samples images of its own.
    mesh: name -> size of the axes of the mesh.
    phase: the phase of the training, and the share of each in its steps.
    phases: phase -> share of the steps.
    batch_size: number of examples on all devices together.
    steps: number of steps of the training; None for sampling.
    parameters: number of parameters that are trained.
    memory: bytes of a device that a program may use; None if not known.
    programs: the programs, which run one after the other.
    largest: the largest batch of all devices that fits, if it was asked for.
  """

  config: str
  topology: Topology
  devices: int
  mesh: dict[str, int]
  phase: str | None
  phases: dict[str, float]
  batch_size: int
  steps: int | None
  parameters: int
  memory: int | None
  programs: tuple[Figures, ...]
  largest: int | None = None

  @property
  def peak(self) -> int:
    """Bytes on a device while the program with most memory runs."""
    return max(figures.memory.total for figures in self.programs)

  @property
  def fits(self) -> bool | None:
    """Whether it fits; None if the memory is not known."""
    return None if self.memory is None else self.peak <= self.memory

  @property
  def flops(self) -> int:
    """Operations of all programs on all devices."""
    return sum(figures.flops for figures in self.programs)

  @property
  def seconds(self) -> float | None:
    """Estimated time of all programs; None without a cost model."""
    chip = self.topology.chip
    if chip is None:
      return None
    return sum(
      f.get_compute_seconds(chip) + f.get_communication_seconds(chip)
      for f in self.programs
    )

  @property
  def share_of_peak(self) -> float | None:
    """Operations per second, as a share of the peak of all chips."""
    if not self.seconds:
      return None
    peak = self.devices * self.topology.chip.flops
    return self.flops / (self.seconds * peak)

  @property
  def days(self) -> float | None:
    """Estimated time of the whole training, in days."""
    if self.seconds is None or self.steps is None:
      return None
    return self.steps * self.seconds / _DAY

  def to_json(self) -> dict[str, Any]:
    """Returns the plan as one JSON object."""
    return {
      'config': self.config,
      'topology': self.topology.name,
      'devices': self.devices,
      'mesh': self.mesh,
      'phase': self.phase,
      'phases': self.phases,
      'batch_size': self.batch_size,
      'parameters': self.parameters,
      'memory': {
        'peak': self.peak,
        'available': self.memory,
        'fits': self.fits,
      },
      'flops': self.flops,
      'flops_per_image': self.flops / self.batch_size,
      'seconds': self.seconds,
      'share_of_peak': self.share_of_peak,
      'steps': self.steps,
      'days': self.days,
      'largest_batch': self.largest,
      'programs': [self._program_to_json(f) for f in self.programs],
      'unknown': list(UNKNOWN),
    }

  def _program_to_json(self, figures: Figures) -> dict[str, Any]:
    found = dataclasses.asdict(figures)
    found['memory']['total'] = figures.memory.total
    chip = self.topology.chip
    if chip is not None:
      found['compute_seconds'] = figures.get_compute_seconds(chip)
      found['communication_seconds'] = figures.get_communication_seconds(chip)
    return found

  def to_text(self) -> str:
    """Returns the plan for a reader."""
    lines = [*self._describe_run(), '']
    for figures in self.programs:
      lines += [*self._describe_program(figures), '']
    lines += [*self._describe_time(), '', 'A plan cannot know']
    lines += [f'  - {item}' for item in UNKNOWN]
    return '\n'.join(lines)

  def _describe_run(self) -> list[str]:
    number = self.devices
    mesh = ', '.join(f'{name}={size}' for name, size in self.mesh.items())
    lines = [
      f'{self.config} on {self.topology.name}: {number} devices, mesh {mesh}',
      f'  {self.parameters:,} parameters are trained; batch {self.batch_size} '
      f'({self.batch_size / number:g} on each device)',
    ]
    if len(self.phases) > 1:
      shares = ', '.join(f'{k} {v:.1%}' for k, v in self.phases.items())
      lines.append(f'  phases of the training: {shares}')
      lines.append(f'  this is the step of: {self.phase} (--step for another)')
    return lines

  def _describe_program(self, figures: Figures) -> list[str]:
    memory = figures.memory
    rows = [
      ('arguments', memory.arguments),
      *((f'  {name}', size) for name, size in memory.kinds.items()),
      ('temporaries', memory.temporaries),
      ('outputs', memory.outputs),
      ('  aliased with arguments', -memory.aliased),
      ('program', memory.program),
      ('kept beside it', memory.kept),
      ('in total', memory.total),
    ]
    lines = [f'{figures.name}, bytes on each device']
    lines += [f'  {name:<26}{format_bytes(size):>12}' for name, size in rows]
    if self.memory is not None:
      margin = self.memory - memory.total
      verdict = 'fits' if margin >= 0 else 'DOES NOT FIT'
      lines.append(
        f'  it {verdict} into {format_bytes(self.memory)}: margin '
        f'{format_bytes(margin)}'
      )
    lines.append('communication of each device (loops multiplied)')
    lines += [
      f'  {kind:<20}{format_bytes(t.bytes):>12} in {t.number} operations'
      for kind, t in figures.traffic.items()
    ] or ['  none']
    if figures.cycles:
      lines += self._describe_cycles(figures)
    lines.append(f'compiled in {figures.compile_seconds:.0f} s')
    return lines

  def _describe_cycles(self, figures: Figures) -> list[str]:
    lines = [f'estimated cycles {figures.cycles / 1e6:,.1f} M, most of them in']
    for operation in figures.operations:
      share = operation.cycles / figures.cycles
      lines.append(
        f'  {share:6.1%} {operation.name} ({operation.example}, '
        f'{operation.times} runs)'
      )
    if figures.unknown_loops:
      lines.append(
        f'  {figures.unknown_loops} loops with an unknown number of trips, '
        'which count once'
      )
    if figures.cycles > 1.01 * figures.least_cycles:
      lines.append(
        f'  with the cheapest branches {figures.least_cycles / 1e6:,.1f} M'
      )
    return lines

  def _describe_time(self) -> list[str]:
    what = 'step' if self.steps is not None else 'batch'
    lines = [
      f'{format_flops(self.flops)} for a {what}, '
      f'{format_flops(self.flops / self.batch_size)} for an image'
    ]
    if self.seconds:
      chip = self.topology.chip
      compute = sum(f.get_compute_seconds(chip) for f in self.programs)
      lines.append(
        f'a {what} takes {1e3 * self.seconds:.1f} ms: {1e3 * compute:.1f} ms '
        f'of computation at {chip.clock / 1e9:.2f} GHz and '
        f'{1e3 * (self.seconds - compute):.1f} ms of communication over all '
        'links'
      )
      lines.append(
        f'{self.batch_size / self.seconds:,.0f} images a second, '
        f'{self.share_of_peak:.1%} of the peak'
      )
    if self.days is not None:
      lines.append(f'{self.steps:,} steps take {self.days:.2f} days')
    if self.largest is not None:
      lines.append(f'the largest batch that fits: {self.largest}')
    return lines


def format_bytes(size: float) -> str:
  """Returns bytes in a unit in which they are easy to read.

  Example:
    >>> format_bytes(1536), format_bytes(-3 * 2**30)
    ('1.50 KiB', '-3.00 GiB')
  """
  units = ('bytes', 'KiB', 'MiB', 'GiB')
  power = min(int(math.log2(max(abs(size), 1)) // 10), len(units) - 1)
  digits = 2 if power else 0
  return f'{size / 2 ** (10 * power):.{digits}f} {units[power]}'


def format_flops(flops: float) -> str:
  """Returns a number of operations in TFLOP.

  Example:
    >>> format_flops(3.2e13)
    '32.000 TFLOP'
  """
  return f'{flops / 1e12:,.3f} TFLOP'
