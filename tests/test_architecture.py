"""The order of imports between packages, and the largest size of files."""

import ast
import functools
import graphlib
import importlib
import inspect
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# A package imports itself and what stands in the rows above its own.
ROWS = [
  {'_version'},
  {'utils'},
  {'pretrained'},
  {'layers'},
  {'features'},
  {'quantizers'},
  {'autoencoders', 'discriminators'},
  {'losses'},
  {'priors'},
  {'samplers'},
  {'guidance'},
  {'metrics'},
  {'config'},
  {'inference'},
  {'model'},
  {'runs'},
  {'workflows'},
  {'evaluation'},
  {'convert'},
  {'demo'},
  {'cli'},
]
# The data needs no model, and stands aside.
ONLY_UTILS = {'data'}
FIRST_TO_SEE_DATA = 'config'

# The same for the modules and packages of train.
TRAIN_ROWS = [
  {
    'huge_pages',
    'intervals',
    'partitioning',
    'preemption',
    'run_folder',
    'state',
  },
  {'sharding', 'skipping'},
  {'checkpointing', 'datasets', 'logging', 'optim'},
  {'step'},
  {'tasks'},
  {'config', 'evaluation'},
  {'run'},
  {'errors', 'loop', 'planning'},
  {'evaluate', 'main', 'quickstart'},
  {'plan'},
]

MAX_LINES = 300
MAX_FUNCTION_LINES = 60


def files(*folders):
  found = [p for f in folders for p in sorted((ROOT / f).rglob('*.py'))]
  assert found
  return found


@functools.cache
def parse(path):
  return ast.parse(path.read_text())


def imports(path):
  """Absolute dotted names that a file imports, wherever in it."""
  package = path.relative_to(ROOT).parent.parts
  for node in ast.walk(parse(path)):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      base = node.module or ''
      if node.level:
        kept = package[: len(package) - node.level + 1]
        base = '.'.join([*kept, *([base] if base else [])])
      yield from (f'{base}.{alias.name}' for alias in node.names)


def room(path):
  """The package of vq_jax that a file belongs to."""
  return path.relative_to(ROOT / 'vq_jax').parts[0].removesuffix('.py')


def rooms_imported(path):
  for name in imports(path):
    top, *rest = name.split('.')
    if top == 'vq_jax':
      yield rest[0] if rest else '__init__'


def allowed(name):
  """The packages that a package may import."""
  if name in ONLY_UTILS:
    return {name, 'utils'}
  order = [row for row, names in enumerate(ROWS) if name in names]
  assert order, f'{name} is missing in the order of the packages'
  free = {name}.union(*ROWS[: order[0]])
  first = [row for row, names in enumerate(ROWS) if FIRST_TO_SEE_DATA in names]
  if order[0] >= first[0]:
    free.add('data')
  if name == 'cli':
    free.add('__init__')  # `import vq_jax`, as a user would
  return free


def test_packages_import_only_earlier_packages():
  offenders = []
  for path in files('vq_jax'):
    if path == ROOT / 'vq_jax' / '__init__.py':
      continue
    for other in rooms_imported(path):
      if other not in allowed(room(path)):
        offenders.append(f'{path.relative_to(ROOT)} imports vq_jax.{other}')
  assert not offenders, '\n'.join(offenders)


def test_modules_of_train_import_only_earlier_modules():
  rows = {name: i for i, names in enumerate(TRAIN_ROWS) for name in names}
  offenders = []
  for path in files('train'):
    own, *_ = path.relative_to(ROOT / 'train').parts
    own = own.removesuffix('.py')
    for name in imports(path) if own != '__init__' else ():
      top, *rest = name.split('.')
      if top == 'train' and rest[0] != own and rows[rest[0]] >= rows[own]:
        offenders.append(f'{path.relative_to(ROOT)} imports train.{rest[0]}')
  assert not offenders, '\n'.join(offenders)


def modules(folder):
  """Dotted name -> file of each module and package."""
  found = {}
  for path in files(folder):
    *parts, name = path.relative_to(ROOT).with_suffix('').parts
    parts += [] if name == '__init__' else [name]
    found['.'.join(parts)] = path
  return found


@pytest.mark.parametrize('folder', ['vq_jax', 'train'])
@pytest.mark.parametrize('depth', [2, None], ids=['packages', 'modules'])
def test_imports_have_no_cycles(folder, depth):
  names = modules(folder)
  graph = {}
  for own, path in names.items():
    node = '.'.join(own.split('.')[:depth])
    for name in imports(path):
      while name and name not in names:  # the name of a function or class
        name = name.rpartition('.')[0]
      other = '.'.join(name.split('.')[:depth])
      if other not in ('', folder, node):
        graph.setdefault(node, set()).add(other)
  try:
    graphlib.TopologicalSorter(graph).prepare()
  except graphlib.CycleError as error:
    pytest.fail(f'mutual imports: {" <- ".join(error.args[1])}')


def test_vq_jax_does_not_import_the_command_line():
  assert 'cli' not in rooms_imported(ROOT / 'vq_jax' / '__init__.py')


@pytest.mark.parametrize(
  ('folder', 'forbidden'),
  [
    ('vq_jax', {'train', 'configs', 'tests'}),
    ('train', {'configs', 'tests'}),
    ('configs', {'vq_jax', 'train', 'tests'}),
  ],
)
def test_the_library_imports_no_trainer_and_a_config_imports_nothing(
  folder, forbidden
):
  offenders = [
    f'{path.relative_to(ROOT)} imports {name}'
    for path in files(folder)
    for name in imports(path)
    if name.split('.')[0] in forbidden
  ]
  assert not offenders, '\n'.join(offenders)


def dotted(node):
  """'jax.sharding.Mesh' for such an expression, else ''."""
  if isinstance(node, ast.Name):
    return node.id
  if isinstance(node, ast.Attribute) and dotted(node.value):
    return f'{dotted(node.value)}.{node.attr}'
  return ''


def uses_of_devices(path):
  """The lines in which a file refers to pmap or makes a mesh."""
  names = {}  # as the file calls it -> what it is
  for node in ast.walk(parse(path)):
    if isinstance(node, ast.Import):
      for alias in node.names:
        top = alias.name.split('.')[0]
        names[alias.asname or top] = alias.name if alias.asname else top
    elif isinstance(node, ast.ImportFrom) and not node.level:
      for alias in node.names:
        names[alias.asname or alias.name] = f'{node.module}.{alias.name}'

  def meaning(node):
    first, _, rest = dotted(node).partition('.')
    name = names.get(first, '')
    return f'{name}.{rest}' if rest else name

  for node in ast.walk(parse(path)):
    name = meaning(node)
    called = meaning(node.func) if isinstance(node, ast.Call) else ''
    if name.startswith('jax.') and name.endswith(('.pmap', '.make_mesh')):
      yield node.lineno, name
    if called in ('jax.sharding.Mesh', 'jax.sharding.set_mesh', 'jax.set_mesh'):
      yield node.lineno, called


def test_one_file_makes_meshes_and_replicas_for_training():
  """And one file shards the images that are sampled."""
  parallel = ROOT / 'train' / 'sharding.py'
  sampling = ROOT / 'vq_jax' / 'utils' / 'devices.py'
  offenders = [
    f'{path.relative_to(ROOT)}:{line} uses {name}'
    for path in files('vq_jax', 'train')
    if path not in (parallel, sampling)
    for line, name in uses_of_devices(path)
  ]
  assert not offenders, '\n'.join(offenders)
  found = {name for _, name in uses_of_devices(parallel)}
  assert found >= {'jax.pmap', 'jax.make_mesh'}


IMPORT = """
import sys, time
start = time.perf_counter()
import flax.linen
dependencies = time.perf_counter() - start
import vq_jax
seconds = time.perf_counter() - start - dependencies
import jax._src.xla_bridge
assert not jax._src.xla_bridge.backends_are_initialized(), 'a device started'
heavy = {'tensorflow', 'orbax', 'grain', 'tensorflow_datasets'}
heavy &= {name.split('.')[0] for name in sys.modules}
assert not heavy, f'import vq_jax imports {sorted(heavy)}'
print(seconds / dependencies)
"""


def test_import_is_fast_and_starts_nothing(tmp_path):
  """It adds less than half of what the import of JAX and Flax takes."""
  # As after an installation, modules are compiled: by the first run.
  environ = {**os.environ, 'PYTHONPYCACHEPREFIX': str(tmp_path)}
  environ.pop('PYTHONDONTWRITEBYTECODE', None)
  ratios = []
  for attempt in range(4):
    done = subprocess.run(
      [sys.executable, '-c', IMPORT],
      capture_output=True,
      text=True,
      cwd=ROOT,
      env=environ,
    )
    assert done.returncode == 0, done.stderr
    if attempt == 0:
      continue
    ratios.append(float(done.stdout))
    if ratios[-1] < 0.5:
      return
  pytest.fail(
    f'import vq_jax adds {min(ratios):.2f} of the time of its dependencies'
  )


def test_no_file_is_too_long():
  lengths = {
    p: len(p.read_text().splitlines()) for p in files('vq_jax', 'train')
  }
  offenders = [
    f'{path.relative_to(ROOT)} has {n} lines'
    for path, n in lengths.items()
    if n > MAX_LINES
  ]
  assert not offenders, f'more than {MAX_LINES} lines:\n' + '\n'.join(offenders)


def test_no_function_is_too_long():
  offenders = []
  for path in files('vq_jax', 'train'):
    for node in ast.walk(parse(path)):
      if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        n = node.end_lineno - node.lineno + 1
        if n > MAX_FUNCTION_LINES:
          where = f'{path.relative_to(ROOT)}:{node.lineno}'
          offenders.append(f'{where} {node.name} has {n} lines')
  assert not offenders, f'more than {MAX_FUNCTION_LINES} lines:\n' + '\n'.join(
    offenders
  )


@pytest.mark.parametrize(
  'path',
  sorted((ROOT / 'tests/benchmarks').rglob('*.py')),
  ids=lambda p: p.stem,
)
def test_benchmarks_import_existing_names(path):
  """Benchmarks are run by hand, so only this test checks their imports."""
  try:
    name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    module = importlib.import_module(name.removesuffix('.__init__'))
  except ModuleNotFoundError as error:
    assert error.name == 'torch'
    pytest.skip('needs torch')
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
      owner = getattr(module, node.value.id, None)
      if inspect.ismodule(owner):
        assert hasattr(owner, node.attr), f'{node.value.id}.{node.attr}'
