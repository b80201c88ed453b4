"""Writes archives of TorchScript, opcode by opcode, without PyTorch."""

import zipfile

from tests.convert import writing


class Module(dict):
  """The attributes of a module of TorchScript."""


class Writer(writing.Writer):
  """Writes modules, too."""

  def _value(self, value):
    if not isinstance(value, Module):
      return super()._value(value)
    made = writing.name('__torch__.model.___torch_mangle_1', 'Part') + b')\x81'
    items = (writing.plain(k) + self._value(v) for k, v in value.items())
    return made + b'}(' + b''.join(items) + b'ub'


def modules(arrays):
  """Returns the tree of modules of a state dict."""
  tree = Module(training=False, _is_full_backward_hook=None)
  for name, array in arrays.items():
    *path, last = name.split('.')
    node = tree
    for part in path:
      node = node.setdefault(part, Module(training=False))
    node[last] = array
  return tree


def save(path, tree, *, method=zipfile.ZIP_STORED):
  """Writes an archive; `method` compresses the tensors, too."""
  writer = Writer()
  content = writer.dumps(tree)
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('clip/data.pkl', content, method)
    archive.writestr('clip/version', b'3\n')
    archive.writestr('clip/constants.pkl', b'\x80\x02).')
    code = 'clip/code/__torch__/model.py'
    archive.writestr(code, b'raise SystemExit\n' * 99, zipfile.ZIP_DEFLATED)
    for i, storage in enumerate(writer.storages):
      archive.writestr(f'clip/data/{i}', storage.tobytes(), method)
  return path
