"""Loading of a CLIP from files of OpenAI, open_clip and Hugging Face."""

import dataclasses
import os
import pathlib
import warnings
from typing import Any
from typing import Literal

import jax
import jax.numpy as jnp

from vq_jax.features import clip_options
from vq_jax.features import clip_rules
from vq_jax.features import clip_sizes
from vq_jax.features import released
from vq_jax.features import weight_files
from vq_jax.features.clip import CLIP
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import locations
from vq_jax.utils.conversion import pickles
from vq_jax.utils.conversion import rules
from vq_jax.utils.conversion import states

# Both sources have an array of this name.
_LANDMARK = 'logit_scale'
_USUAL = ('', 'state_dict', 'state_dict/module.')
# Files with weights in a folder of Hugging Face, in the order of the search.
_FILES = (
  'model.safetensors',
  'open_clip_model.safetensors',
  'pytorch_model.bin',
  'open_clip_pytorch_model.bin',
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenAIRelease:
  """A file that OpenAI released.

  Attributes:
    file: its name.
    sha256: its checksum.
    megabytes: its size, rounded.
  """

  file: str
  sha256: str
  megabytes: int

  @property
  def url(self) -> str:
    """Its address, which contains the checksum."""
    base = 'https://openaipublic.azureedge.net/clip/models'
    return f'{base}/{self.sha256}/{self.file}'


# https://github.com/openai/CLIP/blob/main/clip/clip.py
RELEASES = {
  'RN50': OpenAIRelease(
    file='RN50.pt',
    sha256='afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762',
    megabytes=256,
  ),
  'ViT-B/32': OpenAIRelease(
    file='ViT-B-32.pt',
    sha256='40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af',
    megabytes=354,
  ),
  'ViT-B/16': OpenAIRelease(
    file='ViT-B-16.pt',
    sha256='5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f',
    megabytes=351,
  ),
  'ViT-L/14': OpenAIRelease(
    file='ViT-L-14.pt',
    sha256='b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836',
    megabytes=933,
  ),
  'ViT-L/14@336px': OpenAIRelease(
    file='ViT-L-14-336px.pt',
    sha256='3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02',
    megabytes=934,
  ),
}


def load_clip(
  path: str | os.PathLike,
  *,
  activation: Literal['gelu', 'quick_gelu'] | None = None,
  remat: bool = False,
  dtype: jnp.dtype = jnp.float32,
) -> tuple[CLIP, dict[str, Any]]:
  """Loads a CLIP.

  Names and shapes of the arrays tell whether the file is of OpenAI, open_clip
  or Hugging Face, and all sizes of the model. A TorchScript archive, as OpenAI
  releases, is read without running it.

  Args:
    path: a file with weights, a folder with the files of a repository on
      Hugging Face, or the name of a model of OpenAI ('ViT-B/32', 'ViT-B/16',
      'ViT-L/14', 'ViT-L/14@336px', 'RN50'), whose file is searched in the
      folder of the environment variable VQ_JAX_WEIGHTS, in
      ~/.cache/vq_jax/weights and in ~/.cache/clip.
    activation: activation of the transformers. By default that of a
      `config.json` or `open_clip_config.json` beside the file, and 'quick_gelu'
      without one, with a warning unless the file is of OpenAI. The models that
      open_clip trained on LAION have 'gelu', unless their names end with
      '-quickgelu'. Heads, and mean and standard deviation of the pixels, are
      read there too; otherwise they are those of OpenAI.
    remat: see `CLIP`.
    dtype: see `CLIP`.

  Returns:
    the module and its variables, float32.

  Raises:
    MissingWeights: if there is no such file; the message says how to get it.
    ConvertError: if the file is damaged or no CLIP; a ValueError.
    OSError: if the file cannot be read.
    ValueError: if the checksum of a model of OpenAI is wrong.
  """
  file = find_file(path)
  options = clip_options.read(file.parent, activation)
  with pickles.reading(file) as tree:
    try:
      found = locations.find(tree, _LANDMARK, _USUAL)
      tensors = states.tensors(found.tree)
      clip_sizes.require_both(tensors)
      state = clip_sizes.prepare(tensors)
      config = clip_sizes.sizes(state, options)
    except ValueError as error:
      raise errors.ConvertError(
        f'{file} is no CLIP: {str(error).rstrip(".")}.'
      ) from error
    clip = CLIP(config, remat=remat, dtype=dtype)
    variables = _convert(clip, state, file)
  for notice in (found.notice, _assumption(tensors, options)):
    if notice:
      warnings.warn(f'{file}: {notice}', errors.ConvertWarning, stacklevel=2)
  return clip, jax.tree.map(jnp.asarray, variables)


def _assumption(
  state: states.State, options: clip_options.Options
) -> str | None:
  """Returns a warning if nothing tells the activation."""
  # This array is in the files of OpenAI, but not in those of open_clip.
  if options.activation or 'input_resolution' in state:
    return None
  return (
    'the file does not tell the activation, and quick_gelu of OpenAI is used; '
    "models that open_clip trained on LAION need activation='gelu', unless "
    'their names end with -quickgelu.'
  )


def _convert(
  clip: CLIP, state: states.State, file: pathlib.Path
) -> dict[str, Any]:
  """Returns the variables; an error is one line with the first problems."""
  size = clip.config.image_size
  shapes = jax.eval_shape(
    clip.init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32),
    jax.ShapeDtypeStruct((1, clip.config.context_length), jnp.int32),
  )
  try:
    return rules.convert(
      state,
      clip_rules.rules(state, clip.config),
      shapes,
      source=str(file),
      ignored=clip_rules.IGNORED,
    )
  except errors.ConvertError as error:
    lines = [
      line.strip() for line in str(error).splitlines() if line.startswith('  ')
    ]
    raise errors.ConvertError(
      f'{file} is no complete CLIP: {len(lines)} arrays are missing (-), '
      f'unknown (?), or of another shape (!): {"; ".join(lines[:3])}.'
    ) from error


def find_file(path: str | os.PathLike) -> pathlib.Path:
  """Returns the file with the weights of a CLIP.

  Args:
    path: see `load_clip`.

  Raises:
    MissingWeights: if it does not exist.
    ValueError: if the checksum of a model of OpenAI is wrong.
  """
  if path in RELEASES and not pathlib.Path(path).exists():
    return _find_release(path)
  file = pathlib.Path(path).expanduser()
  if file.is_dir():
    inside = [file / name for name in _FILES if (file / name).is_file()]
    if not inside:
      raise released.MissingWeights(
        f'{file} must be a file with weights or a folder with one of '
        f'{", ".join(_FILES)}; it has none of them.'
      )
    return inside[0]
  if not file.exists():
    listed = ', '.join(
      f'{name} ({release.url}, {release.megabytes} MB)'
      for name, release in RELEASES.items()
    )
    raise released.MissingWeights(
      f'{file} does not exist. Give a file with the weights of a CLIP, a '
      f'folder of Hugging Face, or the name of a model of OpenAI: {listed}.'
    )
  return file


def _find_release(name: str) -> pathlib.Path:
  """Returns the file of a model of OpenAI, and checks its checksum."""
  release = RELEASES[name]
  return weight_files.find(
    release.file,
    release.sha256,
    what=f'{name} needs {release.file} of OpenAI ({release.megabytes} MB, '
    f'sha256 {release.sha256})',
    url=release.url,
    more_folders=[pathlib.Path('~/.cache/clip').expanduser()],
  )
