"""Prepares real images from packages, as a folder.

Photographs from Debian, cut into tiles, and Fluent's 3D emoji from npm; any of
the packages may be left out:

    apt-get download mate-backgrounds lomiri-wallpapers-16.04 \
      lomiri-wallpapers-20.04 plasma-workspace-wallpapers \
      gcompris-qt-data
    npm pack --ignore-scripts @lobehub/fluent-emoji-3d@1.1.0
    python -m tests.benchmarks.prepare_images images *.deb *.tgz

The images have 64 x 64 pixels, or the side that `--size` gives. Afterwards
`folder:images` opens them, with the splits `train` and `test` and
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
# The educational images of GCompris: animals, buildings, landscapes, tools, and
# ten paintings. They are smaller and sharper than the wallpapers.
GCOMPRIS = 'gcompris-qt-data'
GCOMPRIS_FILES = {
  'categorization', 'erase', 'explore_farm_animals', 'explore_monuments',
  'explore_world_animals',
}  # fmt: skip
GCOMPRIS_SHRINKS = (1, 2, 4)
GCOMPRIS_MOST_TILES = 12  # of one image at one size
GCOMPRIS_LEAST_SIDE = 200  # in pixels; smaller ones are icons
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


def read_gcompris(path: pathlib.Path) -> Iterator[tuple[str, Image.Image]]:
  """Yields (name, image) of GCompris, whose .rcc files hold WebP images."""
  with read_deb(path) as archive:
    for member in archive:
      name = pathlib.PurePosixPath(member.name)
      if name.suffix != '.rcc' or name.stem not in GCOMPRIS_FILES:
        continue
      with archive.extractfile(member) as file:
        content = file.read()
      webp = re.finditer(b'RIFF(....)WEBP', content, re.DOTALL)
      for i, head in enumerate(webp):
        end = head.start() + 8 + int.from_bytes(head[1], 'little')
        image = Image.open(io.BytesIO(content[head.start() : end]))
        if image.mode == 'RGB' and min(image.size) >= GCOMPRIS_LEAST_SIDE:
          yield f'{name.stem}_{i}', image


def tiles(
  photo: Image.Image,
  size: int,
  most: int,
  shrinks: tuple[int, ...] = SHRINKS,
) -> Iterator[tuple[str, np.ndarray]]:
  """Cuts a photograph into tiles that are not flat, at several sizes.

  Args:
    photo: RGB.
    size: side of the tiles.
    most: tiles of one shrinking factor; of more, some that are evenly spread
      are taken.
    shrinks: the factors.

  Yields:
    ('shrink_row_column', uint8 [size, size, 3]).
  """
  for shrink in shrinks:
    pixels = np.asarray(photo.reduce(shrink))
    rows, columns = (side // size for side in pixels.shape[:2])
    found = []
    for row, column in itertools.product(range(rows), range(columns)):
      y, x = row * size, column * size
      tile = pixels[y : y + size, x : x + size]
      if detail(tile) >= LEAST_DETAIL:
        found.append((f'{shrink}_{row:02d}_{column:02d}', tile))
    taken = min(most, len(found))
    yield from (found[i * len(found) // taken] for i in range(taken))


def detail(tile: np.ndarray) -> float:
  """Returns by how much pixels that are four apart differ in the mean."""
  tile = tile.astype(np.float32)
  across, down = tile[:, 4:] - tile[:, :-4], tile[4:] - tile[:-4]
  return (np.abs(across).mean() + np.abs(down).mean()) / 2


def read_emoji(
  path: pathlib.Path, size: int
) -> Iterator[tuple[str, Image.Image]]:
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
            on_white, (size, size), Image.Resampling.LANCZOS, color='white'
          ),
        )


def split_of(name: str) -> str:
  """Returns 'test' for a tenth of all names."""
  digest = hashlib.sha1(name.encode()).hexdigest()
  return 'test' if int(digest, 16) % 10 == 0 else 'train'


def read_images(
  path: pathlib.Path, size: int
) -> Iterator[tuple[str, Image.Image]]:
  """Yields ('split/class/name', square RGB image) of a package.

  Raises:
    PackageError: if it is an unknown one, or not what its name says.
  """
  package = path.name.split('_')[0]
  if package in PHOTOS:
    for name, photo in read_photos(path, package):
      split = 'test' if name in TEST_PHOTOS else 'train'
      for number, tile in tiles(photo, size, MOST_TILES[split]):
        yield f'{split}/photo/{name}_{number}', Image.fromarray(tile)
  elif package == GCOMPRIS:
    for name, photo in read_gcompris(path):
      split = split_of(name)
      whole = ImageOps.fit(photo, (size, size), Image.Resampling.LANCZOS)
      yield f'{split}/photo/{name}_whole', whole
      for number, tile in tiles(
        photo, size, GCOMPRIS_MOST_TILES, GCOMPRIS_SHRINKS
      ):
        yield f'{split}/photo/{name}_{number}', Image.fromarray(tile)
  elif path.name.startswith(EMOJI):
    for name, emoji in read_emoji(path, size):
      yield f'{split_of(name)}/emoji/{name}', emoji
  else:
    raise PackageError(
      f'{path} is none of the packages {", ".join([*PHOTOS, GCOMPRIS, EMOJI])};'
      ' keep the names of the files as they were downloaded.'
    )


def write(
  folder: pathlib.Path, package: pathlib.Path, size: int
) -> collections.Counter[str]:
  """Writes a package's images; returns their number by 'split/class'."""
  counts = collections.Counter()
  bar = tqdm.tqdm(
    read_images(package, size), desc=package.name.split('_')[0], unit=' images'
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
  parser.add_argument('--size', type=int, default=64, help='in pixels; 64')
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
      counts += write(arguments.folder, package, arguments.size)
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
