"""Checkpoints that others have released, with their addresses.

`vqjax convert NAME --out RUN` downloads and converts them. Their authors state
under which licence they may be used.
"""

import dataclasses
from collections.abc import Mapping

from vq_jax.utils import names

_MASKGIT = 'https://storage.googleapis.com/maskgit-public/checkpoints'
_TAMING = 'https://heibox.uni-heidelberg.de/f'
_LLAMAGEN = 'https://huggingface.co/FoundationVision/LlamaGen/resolve/main'
_HALTON = 'https://huggingface.co/llvictorll/Halton-Maskgit/resolve/main'


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
  """A file of a release.

  Attributes:
    name: its name in the cache.
    url: its address.
    megabytes: its size, rounded; None if it is not known.
    sha256: its checksum; None if it is not known, in which case that of the
      first download is recorded, and later ones must equal it.
  """

  name: str
  url: str
  megabytes: int | None = None
  sha256: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Release:
  """A released model.

  Attributes:
    kind: the kind of checkpoint; see `vq_jax.convert.KINDS`.
    files: parameter of `vq_jax.convert.load` -> file.
    source: the repository of its authors.
    licence: identifier of the licence of that repository.
  """

  kind: str
  files: Mapping[str, File]
  source: str
  licence: str

  @property
  def megabytes(self) -> int | None:
    """The size of all files; None if one is not known."""
    sizes = [file.megabytes for file in self.files.values()]
    return None if None in sizes else sum(filter(None, sizes))


def _maskgit_file(part: str, size: int, megabytes: int) -> File:
  name = f'{part}_imagenet{size}_checkpoint'
  return File(name=name, url=f'{_MASKGIT}/{name}', megabytes=megabytes)


def _maskgit(size: int, megabytes: int) -> Release:
  return Release(
    kind='maskgit',
    files={
      'tokenizer': _maskgit_file('tokenizer', size, 218),
      'transformer': _maskgit_file('maskgit', size, megabytes),
    },
    source='https://github.com/google-research/maskgit',
    licence='apache-2.0',
  )


def _maskgit_tokenizer(size: int) -> Release:
  return Release(
    kind='maskgit-tokenizer',
    files={'path': _maskgit_file('tokenizer', size, 218)},
    source='https://github.com/google-research/maskgit',
    licence='apache-2.0',
  )


def _vqgan(name: str, weights: str, config: str, megabytes: int) -> Release:
  return Release(
    kind='taming-vqgan',
    files={
      'path': File(
        name=f'{name}.ckpt',
        url=f'{_TAMING}/{weights}/?dl=1',
        megabytes=megabytes,
      ),
      'yaml': File(
        name=f'{name}.yaml', url=f'{_TAMING}/{config}/?dl=1', megabytes=0
      ),
    },
    source='https://github.com/CompVis/taming-transformers',
    licence='mit',
  )


_LLAMAGEN_VQ16 = File(
  name='vq_ds16_c2i.pt', url=f'{_LLAMAGEN}/vq_ds16_c2i.pt', megabytes=288
)


def _halton(name: str) -> Release:
  return Release(
    kind='halton-maskgit',
    files={
      'tokenizer': _LLAMAGEN_VQ16,
      'transformer': File(name=name, url=f'{_HALTON}/{name}'),
    },
    source='https://github.com/valeoai/Halton-MaskGIT',
    licence='mit',
  )


RELEASES: dict[str, Release] = {
  'maskgit-imagenet256': _maskgit(256, 690),
  'maskgit-imagenet512': _maskgit(512, 692),
  'maskgit-tokenizer-imagenet256': _maskgit_tokenizer(256),
  'maskgit-tokenizer-imagenet512': _maskgit_tokenizer(512),
  'vqgan-imagenet-f16-1024': _vqgan(
    'vqgan_imagenet_f16_1024',
    '140747ba53464f49b476',
    '6ecf2af6c658432c8298',
    958,
  ),
  'vqgan-imagenet-f16-16384': _vqgan(
    'vqgan_imagenet_f16_16384',
    '867b05fc8c4841768640',
    '274fb24ed38341bfa753',
    980,
  ),
  'llamagen-vq16': Release(
    kind='llamagen-vq',
    files={'path': _LLAMAGEN_VQ16},
    source='https://github.com/FoundationVision/LlamaGen',
    licence='mit',
  ),
  'halton-maskgit-imagenet256-base': _halton('ImageNet_256_base.pth'),
  'halton-maskgit-imagenet256-large': _halton('ImageNet_256_large.pth'),
  'halton-maskgit-imagenet384-large': _halton('ImageNet_384_large.pth'),
}


def lookup(name: str) -> Release:
  """Returns the release of a name.

  Raises:
    ValueError: if the name is unknown.
  """
  return names.lookup(RELEASES, name, 'release')
