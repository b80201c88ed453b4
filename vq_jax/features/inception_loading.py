"""Loading of the weights of the FID's Inception-v3."""

import os
import pathlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.features import inception
from vq_jax.features import weight_files
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import rules
from vq_jax.utils.conversion import states

# The weights of the graph of 2015, as pytorch-fid released them. torch-fidelity
# has the same file under another name.
FILE = 'pt_inception-2015-12-05-6726825d.pth'
SHA256 = '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2'
URL = f'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}'
_EPSILON = 1e-3  # of the batch norms
_RULES = (
  rules.Rule('fc', 'fc', rules.DENSE),
  rules.Rule(r'(Mixed_\w+)\.(\w+)', r'\1/\2/conv', rules.CONV),
  rules.Rule(r'(Conv2d_\w+)', r'\1/conv', rules.CONV),
)


def load_inception(
  path: str | os.PathLike | None = None,
  *,
  value_range: tuple[float, float] = inception.GRAPH_RANGE,
) -> tuple[inception.InceptionV3, dict]:
  """Loads the Inception-v3 of the FID.

  Args:
    path: the file `pt_inception-2015-12-05-6726825d.pth`. By default it is
      searched in the folder of the environment variable VQ_JAX_WEIGHTS and in
      ~/.cache/vq_jax/weights.
    value_range: see `InceptionV3`.

  Returns:
    the module and its variables.

  Raises:
    MissingWeights: if there is no such file; the message says how to get it.
    OSError: if `path` cannot be read.
    ValueError: if the checksum of the file is wrong.
  """
  if path is None:
    file = weight_files.find(
      FILE,
      SHA256,
      what=f'inception needs {FILE} (96 MB, sha256 {SHA256})',
      url=URL,
    )
  else:
    file = pathlib.Path(path)
    weight_files.check(file, SHA256, URL)
  network = inception.InceptionV3(value_range=value_range)
  variables = convert(states.load_arrays(file), network, source=str(file))
  return network, jax.tree.map(jnp.asarray, variables)


def convert(
  state: Mapping[str, np.ndarray],
  network: inception.InceptionV3,
  *,
  source: str = 'the state dict',
) -> dict:
  """Converts a state dict with the names of torchvision.

  The bias of the logits is left out; see `InceptionV3`.

  Args:
    state: the arrays by their names.
    network: the module.
    source: where the arrays are from, for the message.

  Returns:
    the variables of the module.

  Raises:
    ConvertError: if names or shapes differ; a ValueError.
  """
  shapes = jax.eval_shape(
    network.init, jax.random.key(0), jnp.zeros((1, 299, 299, 3))
  )
  return rules.convert(
    _fold_norms(state), _RULES, shapes, source=source, ignored=r'fc\.bias'
  )


def _fold_norms(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Folds each batch norm into the convolution before it.

  (W x - mean) scale / sqrt(var) + shift has the kernel W scale / sqrt(var).

  Raises:
    ConvertError: if a batch norm is incomplete.
  """
  folded = {}
  for name, array in state.items():
    layer, _, leaf = name.partition('.conv.')
    if not leaf:
      if '.bn.' not in name:
        folded[name] = array
      continue
    missing = [n for n in _norm_names(layer) if n not in state]
    if missing:
      raise errors.ConvertError(f'{name} has no {", ".join(missing)}')
    scale, shift, mean, variance = (
      state[n].astype(np.float64) for n in _norm_names(layer)
    )
    scale = scale / np.sqrt(variance + _EPSILON)
    folded[f'{layer}.weight'] = array * scale.reshape(-1, 1, 1, 1)
    folded[f'{layer}.bias'] = shift - mean * scale
  return folded


def _norm_names(layer: str) -> list[str]:
  kinds = ('weight', 'bias', 'running_mean', 'running_var')
  return [f'{layer}.bn.{kind}' for kind in kinds]
