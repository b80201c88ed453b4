"""The instructions of compiled programs, in the text of HLO."""

import dataclasses
import math
import re

_INSTRUCTION = re.compile(r'\s+(?:ROOT )?%?([\w.\-]+) = (.*)$')
_OPCODE = re.compile(r'(?:^|[\s)}])([a-z][a-z0-9\-]*)\(')
_ARRAY = re.compile(r'\b(pred|token|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]')
_NAME = re.compile(r'%([\w.\-]+)')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_TRUE_FALSE = ('true_computation', 'false_computation')
_CONSTANT = re.compile(r'\bconstant\((-?\d+)\)')
_CHANNEL = re.compile(r'\bchannel_id=(\d+)')
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

  @classmethod
  def read(cls, line: str) -> 'Instruction | None':
    """Reads a line of a program; None if it holds no instruction."""
    found = _INSTRUCTION.match(line)
    if found is None:
      return None
    name, text = found.groups()
    found = _OPCODE.search(text)
    start, end = found.span(1) if found else (len(text), len(text))
    return cls(
      name=name,
      opcode=text[start:end],
      bytes=sum(_get_bytes(*array) for array in _ARRAY.findall(text[:start])),
      operands=tuple(_NAME.findall(text[end : text.find(')', end)])),
      text=text,
    )

  @property
  def cycles(self) -> int:
    """The compiler's estimate of its cycles; 0 if there is none."""
    return _get_number(_CYCLES, self.text) or 0

  @property
  def trips(self) -> int | None:
    """Number of trips of a loop, if it stands beside it."""
    return _get_number(_TRIPS, self.text)

  @property
  def constant(self) -> int | None:
    """Value of a constant integer."""
    return _get_number(_CONSTANT, self.text)

  @property
  def index(self) -> int | None:
    """Which element of a tuple it takes."""
    return _get_number(_INDEX, self.text)

  @property
  def channel(self) -> int | None:
    """Number of the collective that it belongs to."""
    return _get_number(_CHANNEL, self.text)

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
    return tuple(filter(None, map(self.get_called, _TRUE_FALSE)))

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


def _get_number(pattern: re.Pattern, text: str) -> int | None:
  found = pattern.search(text)
  return int(found[1]) if found else None


def _get_bytes(kind: str, dims: str) -> int:
  """Returns the size of an array such as ('bf16', '8,128')."""
  digits = re.search(r'\d+', kind)
  bits = int(digits[0]) if digits else {'pred': 8}.get(kind, 0)
  return math.prod(int(n) for n in dims.split(',') if n) * bits // 8
