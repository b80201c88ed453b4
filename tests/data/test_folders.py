"""Which folders are splits or classes, their order, and the files read."""

import os
import random
import unicodedata
import warnings

import numpy as np
import pytest
from PIL import Image

from vq_jax import data
from vq_jax.data import class_names
from vq_jax.data import decode


def write(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new('L', (2, 2)).save(root / name)


def opened(root, split='train', **options):
  """Opens a folder; a warning is an error."""
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    return data.open_source(f'folder:{root}', split, **options)


def get_labels(source):
  """Returns file -> label."""
  return {source._files[i]: int(source[i]['label']) for i in range(len(source))}


# Splits or classes.


def test_a_class_that_is_called_like_a_split_is_a_class(tmp_path):
  write(tmp_path, 'bus/a.png', 'car/a.png', 'train/a.png', 'train/b.png')
  with pytest.warns(
    data.FolderWarning,
    match='train may be splits, but bus, car may not; .*classes of one split',
  ):
    source = data.open_source(f'folder:{tmp_path}')
  assert source.class_names == ('bus', 'car', 'train') and len(source) == 4
  with pytest.warns(data.FolderWarning):
    with pytest.raises(data.DataError, match="no split 'test'; it has train"):
      data.open_source(f'folder:{tmp_path}', 'test')


def test_class_folders_named_like_splits_are_read_below_train(tmp_path):
  names = 'bus/a.png', 'car/a.png', 'test/a.png', 'train/a.png'
  write(tmp_path / 'train', *names)
  source = opened(tmp_path)
  assert source.class_names == ('bus', 'car', 'test', 'train')


def test_folders_that_are_all_called_like_splits_are_splits(tmp_path):
  write(tmp_path / 'flat', 'Train/a.png', 'Test/a.png')
  source = opened(tmp_path / 'flat', 'Train')
  assert len(source) == 1 and source.class_names == ('all',)
  with pytest.raises(data.DataError, match="'train'; it has Test, Train"):
    opened(tmp_path / 'flat')
  write(tmp_path / 'two', 'test/a.png', 'validation/a.png')
  with pytest.raises(data.DataError, match="'train'; it has test, validation"):
    opened(tmp_path / 'two')
  write(tmp_path / 'classes', 'Train/x/a.png', 'Train/y/a.png', 'Val/y/b.png')
  assert opened(tmp_path / 'classes', 'Val').class_names == ('x', 'y')


def test_a_split_of_any_name_is_read_beside_the_training_split(tmp_path):
  write(tmp_path, 'train/ant/a.png', 'train/bee/a.png', 'rare/bee/b.png')
  with pytest.warns(
    data.FolderWarning, match="train may be .* read as splits, .* 'bee'.* into"
  ):
    source = data.open_source(f'folder:{tmp_path}', 'rare')
  assert source.class_names == ('ant', 'bee')
  assert get_labels(source) == {'bee/b.png': 1}


def test_folders_without_images_are_no_splits(tmp_path):
  write(tmp_path, 'train/ant/a.png', 'val/ant/a.png')
  for name in ('annotations', 'test'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'list.xml').write_text('<a/>')
  assert opened(tmp_path).class_names == ('ant',)
  with pytest.raises(data.DataError, match="'test'; it has train, val"):
    opened(tmp_path, 'test')


def test_images_beside_the_folders_of_splits_are_named(tmp_path):
  write(tmp_path, 'train/a.png', 'val/a.png', 'preview.png')
  with pytest.warns(data.FolderWarning, match='skipped preview.png, beside'):
    assert len(data.open_source(f'folder:{tmp_path}')) == 1


def test_a_held_out_split_without_class_folders_is_refused(tmp_path):
  write(tmp_path, 'train/ant/a.png', 'val/a.png')
  with pytest.raises(data.DataError, match=r'\(ant\); .* \(images in no fold'):
    opened(tmp_path, 'val')


# The order and the names of classes.


@pytest.mark.parametrize(
  'names',
  [
    [str(i) for i in range(12)],
    ['-10', '-2', '0', '1', '10'],
    ['01', '2', '003', '10'],
    ['img1', 'img2', 'img2b', 'img10', 'img10a2', 'img10a10'],
    ['1', '02', '2x', '10', '10x', 'B', 'a', 'a1', 'é'],
    ['1', '01'][::-1],
  ],
)
def test_numbers_sort_by_value(names):
  for seed in range(5):
    mixed = random.Random(seed).sample(names, len(names))
    assert sorted(mixed, key=class_names.natural_key) == names


def test_numbered_classes_have_their_numbers_as_labels(tmp_path):
  write(tmp_path, *(f'{i}/x.png' for i in range(12)))
  source = opened(tmp_path)
  assert source.class_names == tuple(map(str, range(12)))
  assert get_labels(source) == {f'{i}/x.png': i for i in range(12)}


def test_class_names_are_composed_whatever_the_disk_has(tmp_path):
  composed = 'Äpfel'
  decomposed = unicodedata.normalize('NFD', composed)
  assert composed != decomposed
  write(tmp_path / 'a', f'{decomposed}/x.png', 'Birnen/x.png')
  source = opened(tmp_path / 'a')
  assert source.class_names == ('Birnen', composed)
  assert set(get_labels(source).values()) == {0, 1}
  for folder in (composed, decomposed):
    write(tmp_path / 'b', f'{folder}/x.png')
  with pytest.raises(data.DataError, match='two folders have one name'):
    opened(tmp_path / 'b')


def test_a_copy_with_composed_names_has_the_same_order(tmp_path):
  names = [f'Ä{i}/ö{i}.png' for i in range(20)]
  write(tmp_path / 'a', *names)
  write(tmp_path / 'b', *(unicodedata.normalize('NFD', n) for n in names))
  a, b = (opened(tmp_path / n)._files for n in 'ab')
  assert list(a) == [unicodedata.normalize('NFC', file) for file in b]


def test_splits_are_known_by_composed_names(tmp_path):
  decomposed = unicodedata.normalize('NFD', 'prüfung')
  write(tmp_path, 'train/ant/a.png', f'{decomposed}/ant/b.png')
  for name in ('prüfung', decomposed):
    with pytest.warns(data.FolderWarning, match='read as splits'):
      source = data.open_source(f'folder:{tmp_path}', name)
    assert source._files == ('ant/b.png',)


def test_two_splits_of_one_name(tmp_path):
  for name in ('prüfung', unicodedata.normalize('NFD', 'prüfung')):
    write(tmp_path, 'train/ant/a.png', f'{name}/ant/b.png')
  with pytest.raises(data.DataError, match='two folders have one name'):
    opened(tmp_path)


def test_names_that_are_no_text(tmp_path):
  write(tmp_path / 'a', os.fsdecode(b'ant/\xff.png'), 'ant/b.png')
  assert len(opened(tmp_path / 'a')) == 2
  write(tmp_path / 'b', os.fsdecode(b'\xff/a.png'))
  with pytest.raises(data.DataError, match=r"UTF-8; got b'.xff'. Rename"):
    opened(tmp_path / 'b')


# Which files.


SAVED = {
  '.avif': {},
  '.bmp': {},
  '.gif': {'save_all': True, 'append_images': [Image.new('RGB', (4, 4))]},
  '.jfif': {},
  '.jp2': {},
  '.JPG': {},
  '.mpo': {'save_all': True, 'append_images': [Image.new('RGB', (4, 4))]},
  '.png': {},
  '.ppm': {},
  '.tga': {},
  '.TIFF': {},
  '.webp': {},
}


def test_every_format_of_still_images_is_read(tmp_path):
  for suffix, options in SAVED.items():
    if suffix.lower() in decode.image_suffixes():  # a Pillow may lack some
      image = Image.new('RGB', (4, 4), (200, 100, 50))
      image.save(tmp_path / f'a{suffix}', **options)
  source = opened(tmp_path)
  assert len(source) >= 10 and {'.mpo', '.tif'} < {*decode.image_suffixes()}
  for example in source.read(range(len(source))):
    assert example['image'].shape == (4, 4, 3)
    found = example['image'].reshape(-1, 3).astype(int)
    assert np.abs(found - [200, 100, 50]).max() <= 12


def test_files_that_are_no_still_images_are_left_out(tmp_path):
  suffixes = decode.image_suffixes()
  assert not {'.pdf', '.eps', '.ps', '.mpg', '.h5', '.wmf'} & {*suffixes}
  write(tmp_path, 'ant/a.png', 'bee/a.png')
  (tmp_path / 'empty').mkdir()
  for name in ('a.TXT', 'b.txt', 'c.json', 'Makefile'):
    (tmp_path / 'ant' / name).write_text('x')
  for name in ('Thumbs.db', '.DS_Store', 'desktop.ini', '._a.png'):
    (tmp_path / 'bee' / name).write_text('x')
  (tmp_path / '__MACOSX').mkdir()
  with pytest.warns() as warned:
    source = data.open_source(f'folder:{tmp_path}')
  assert len(source) == 2
  assert [str(w.message) for w in warned] == [
    f'{tmp_path}: skipped 4 files that are no images: .txt, no suffix, .json.',
    f'{tmp_path}: there is no image in empty, so there is no such class.',
  ]
  (tmp_path / 'ant' / 'a.png').unlink()
  with pytest.raises(data.DataError, match='holds 4 files that are no images'):
    opened(tmp_path / 'ant')


def test_a_file_name_never_runs_a_program(tmp_path):
  path = tmp_path / 'a.png'
  Image.new('RGB', (4, 4)).save(path, 'EPS')
  with pytest.raises(data.UnreadableImage, match='cannot identify'):
    decode.decode_image(path, channels=None, name='a')


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
  write(tmp_path, 'ant/a.png', 'bee/a.png')
  scandir = os.scandir

  def refusing(path):
    if os.fspath(path).endswith('bee'):
      raise PermissionError(13, 'Permission denied', path)
    return scandir(path)

  monkeypatch.setattr(os, 'scandir', refusing)
  with pytest.raises(data.DataError, match='bee: Permission denied'):
    opened(tmp_path)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', 'is empty'),
    (b'version https://git-lfs.github.com/spec/v1\noid', '`git lfs pull`'),
    (b'<!DOCTYPE html><html>', 'a web page'),
    (b'words', 'UnidentifiedImageError'),
  ],
)
def test_files_that_stand_in_place_of_images(content, message, tmp_path):
  (tmp_path / 'a.png').write_bytes(content)
  source = opened(tmp_path, channels=3)
  for function in (
    lambda: source[0],
    lambda: decode.decode_image(content, channels=3, name='a'),
  ):
    with pytest.raises(data.UnreadableImage, match=message):
      function()


@pytest.mark.parametrize(
  ('pixels', 'message'),
  [
    (np.full((2, 2), 0.5, np.float32), 'floats'),
    (np.full((2, 2), 70000, np.int32), r'in \[70000, 70000\], where 8 or 16'),
    (np.full((2, 2), -1, np.int32), r'in \[-1, -1\]'),
  ],
)
def test_images_of_an_unknown_range_are_refused(pixels, message, tmp_path):
  Image.fromarray(pixels).save(tmp_path / 'a.tiff')
  with pytest.raises(data.UnreadableImage, match=message):
    opened(tmp_path)[0]


def test_the_number_of_channels_follows_from_the_first_readable_images(
  tmp_path,
):
  for i in range(70):
    (tmp_path / f'{i}.png').write_bytes(b'')
  Image.new('RGB', (2, 2)).save(tmp_path / 'z.png')
  source = opened(tmp_path)
  assert source._channels == 3
