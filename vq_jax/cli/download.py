"""`vqjax download`: released checkpoints, into the cache."""

from collections.abc import Callable

from vq_jax.pretrained import download
from vq_jax.pretrained import released


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'download',
    'Download a released checkpoint into the cache. An interrupted download '
    'is continued, and checksums are verified. vqjax convert does the same '
    'and converts it.',
    run,
    example='vqjax download maskgit-imagenet256',
  )
  parser.add_argument(
    'name',
    metavar='NAME',
    nargs='?',
    choices=tuple(released.RELEASES),
    help='The name of the release; --list shows all.',
  )
  parser.add_argument(
    '--list',
    action='store_true',
    help='Print the table of releases: name, kind, size, licence, authors.',
  )


def run(arguments) -> None:
  """Runs the command."""
  if arguments.list:
    print(_make_table())
    return
  if arguments.name is None:
    raise ValueError('give the name of a release, or --list.')
  for path in download.download(arguments.name).values():
    print(path)


def _make_table() -> str:
  """Returns the table of releases."""
  rows = [('name', 'kind', 'MB', 'licence', 'authors, files')]
  for name, release in released.RELEASES.items():
    size = release.megabytes
    rows.append(
      (
        name,
        release.kind,
        '?' if size is None else str(size),
        release.licence,
        release.source,
      )
    )
    rows += [('', '', '', '', f'  {f.url}') for f in release.files.values()]
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  return '\n'.join(
    '  '.join(
      [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
      + [row[-1]]
    ).rstrip()
    for row in rows
  )
