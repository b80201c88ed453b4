"""Reads the `Attributes:` section of Google-style class docstrings."""

import inspect

_HEADING = 'Attributes:\n'


def attribute_docs(cls: type) -> dict[str, str]:
  """Returns the description of each attribute of a class and its bases.

  The command line makes the help texts of its flags from these, so that an
  option is described once.

  Args:
    cls: a class whose docstring has an `Attributes:` section.

  Returns:
    attribute name -> description on one line, bases first.
  """
  docs = {}
  for base in reversed(cls.__mro__):
    text = inspect.cleandoc(base.__dict__.get('__doc__') or '')
    section = text.partition(_HEADING)[2]
    name = None
    for line in section.splitlines():
      if line and not line.startswith('  '):
        break  # the next section
      if line.startswith('    ') and name is not None:
        docs[name] += f' {line.strip()}'
      elif ': ' in line:
        name, _, first = line.strip().partition(': ')
        docs[name] = first
  return docs
