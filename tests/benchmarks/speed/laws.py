"""Tests of the library, run on the device at hand with its own precision."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from tests.benchmarks.speed.items import Context
from tests.benchmarks.speed.items import Figures
from tests.benchmarks.speed.items import Item

ROOT = pathlib.Path(__file__).parents[3]
# The most important ones first: what accelerators compute otherwise than CPUs.
LAWS = (
  'convert/test_goldens.py',
  'quantizers/test_vector_quantizer.py',
  'priors/test_maskgit.py',
  'samplers/test_maskgit_decoding.py',
  'quantizers/test_quantizer_laws.py',
  'priors/test_autoregressive_transformer.py',
  'samplers/test_autoregressive_decoding.py',
  'layers/test_attention.py',
  'layers/test_causal_convolution.py',
  'priors/test_pixelcnn.py',
  'priors/test_pixelsnail.py',
  'autoencoders/test_resnet_backbone.py',
  'autoencoders/test_vit_backbone.py',
  'discriminators/test_patchgan.py',
  'quantizers/test_ema.py',
  'features/test_clip.py',
)
_RESULT = re.compile(
  r'^tests/(\S+?::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b'
)
_BROKEN = re.compile(r'^ERROR tests/(\S+)')  # a file that cannot be imported
_SHARE = 0.25  # of the time that is left


def run_tests(files: tuple[str, ...], seconds: float) -> Figures:
  """Runs files of tests in a process of their own.

  Products and convolutions have the highest precision, since tests compare
  numbers that are computed in two ways.

  Args:
    files: the files, relative to `tests`.
    seconds: after which they are stopped.

  Returns:
    how many have passed, and the names of those that have not.
  """
  if importlib.util.find_spec('pytest') is None:
    return {'note': 'skipped: pytest is not installed'}
  command = [sys.executable, '-m', 'pytest', '-v', '--tb=short']
  command += ['-o', 'addopts=', '-p', 'no:cacheprovider', '-m', 'not slow']
  command.append('--continue-on-collection-errors')
  command += [f'tests/{file}' for file in files]
  environment = {
    **os.environ,
    'JAX_DEFAULT_MATMUL_PRECISION': 'highest',
    'XLA_PYTHON_CLIENT_PREALLOCATE': 'false',
  }
  if os.environ.get('JAX_PLATFORMS') != 'cpu':
    # Not those that the tests set for the CPU.
    environment.setdefault('XLA_FLAGS', '')
  with tempfile.TemporaryFile('w+') as output:
    try:
      subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=output,
        stderr=subprocess.STDOUT,
        timeout=seconds,
      )
      stopped = ''
    except subprocess.TimeoutExpired:
      stopped = f', stopped after {seconds:.0f} s'
    output.seek(0)
    text = output.read()
  found = [_RESULT.match(line) for line in text.splitlines()]
  results = {match[1]: match[2] for match in found if match}
  failed = [n for n, r in results.items() if r in ('FAILED', 'ERROR')]
  failed += dict.fromkeys(
    m[1]
    for m in map(_BROKEN.match, text.splitlines())
    if m and '::' not in m[1]
  )
  passed = sum(result == 'PASSED' for result in results.values())
  figures = {'passed': passed, 'note': f'{passed} passed{stopped}'}
  if failed or not (passed or stopped):
    print(text, file=sys.stderr)
    names = ', '.join(failed) or ' '.join(text[-300:].split())
    figures['failed'] = failed
    figures['error'] = f'{passed} passed, {len(failed)} failed: {names}'
  return figures


def measure(context: Context) -> Figures:
  """Runs the tests, as many as there is time for."""
  files = LAWS[:2] if context.smoke else LAWS
  return run_tests(files, _SHARE * context.seconds_left)


ITEM = Item(name='laws', measure=measure, group='laws')
