"""Huge pages of memory, with which training on a CPU is faster.

This module imports nothing but the standard library: programs call it first.
"""

import os
import pathlib
import platform
import sys

# Whether the kernel gives huge pages to programs that ask for them.
SETTING = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')
_GLIBC = (2, 35)  # the first that can ask for them
_TUNABLE = 'glibc.malloc.hugetlb'


def restart_with_huge_pages() -> None:
  """Starts this program again with huge pages, if it does not have them.

  XLA allocates the temporaries of a training step on a CPU in each step, and
  waits while the kernel maps and clears them: a page of 4 KiB at a time, unless
  malloc asks for huge pages, of 2 MiB as a rule. glibc reads whether it should
  when a process begins, so the same process executes the same command again.
  That takes some 20 ms if nothing large has been imported yet.

  `get_environment` says when this does nothing.
  """
  changes = get_environment()
  if changes:
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, os.environ | changes)


def get_environment() -> dict[str, str]:
  """Returns the environment variables by which malloc asks for huge pages.

  There are none where they make no difference, on systems other than Linux with
  glibc 2.35 or newer, or if the kernel gives huge pages to all programs or to
  none; and none if GLIBC_TUNABLES already says whether malloc asks for them, as
  `glibc.malloc.hugetlb=0` does.
  """
  tunables = os.environ.get('GLIBC_TUNABLES', '')
  if _TUNABLE in tunables or not _has_glibc() or not _gives_on_request():
    return {}
  return {'GLIBC_TUNABLES': ':'.join(filter(None, [tunables, f'{_TUNABLE}=1']))}


def _has_glibc() -> bool:
  """Returns whether the C library is a glibc that can ask for huge pages."""
  library, version = platform.libc_ver()
  return library == 'glibc' and tuple(map(int, version.split('.'))) >= _GLIBC


def _gives_on_request() -> bool:
  """Returns whether the kernel gives huge pages to those who ask for them."""
  try:
    return '[madvise]' in SETTING.read_text()
  except OSError:
    return False
