"""How well a prior of Fashion-MNIST edits parts of images.

    python -m tests.benchmarks.edit_fashion RUN --workdir runs/edit_fashion

The lower half, or the centre of 14 x 14 pixels, of test images is masked and
sampled anew with the true class. Prints a table: the accuracy of a small
classifier of real images on the edited images, on images whose mask is filled
with the mean of the rest, and on the originals; the PSNR inside the mask of the
first two; the mean difference across the seam, and that of the originals; and
how many images are unchanged outside of the mask. Also outpaints 16 images to
twice their width. The classifier stays in the work folder, beside
`lower_half.png`, `centre.png` (original, mask, edited) and `outpainted.png`.
"""

import argparse
import pathlib
import sys
import time

import numpy as np

import vq_jax
from train import errors
from vq_jax import data
from vq_jax import metrics
from vq_jax.metrics import classifier as classifier_lib
from vq_jax.utils import images

SOURCE = 'tfds:fashion_mnist_mini'
GREY = 0.5


def masks() -> dict[str, np.ndarray]:
  """Returns the masks by name, bool [28, 28], True where an image is edited."""
  lower, centre = np.zeros((2, 28, 28), bool)
  lower[14:] = True
  centre[7:21, 7:21] = True
  return {'lower half': lower, 'centre': centre}


def psnr(image: np.ndarray, edited: np.ndarray, mask: np.ndarray) -> float:
  """Returns the PSNR of the masked pixels, in dB."""
  return float(-10 * np.log10(np.mean((image - edited)[:, mask] ** 2)))


def seam(image: np.ndarray, mask: np.ndarray) -> float:
  """Returns the mean difference of neighbours of which one is masked."""
  steps = []
  for axis in (0, 1):
    crossing = np.diff(mask.astype(int), axis=axis) != 0
    steps.append(np.abs(np.diff(image, axis=axis + 1))[:, crossing])
  return float(np.concatenate(steps, axis=1).mean())


def row(model, classifier, test, name, mask, workdir, options) -> str:
  """Edits all images and returns a row of the table."""
  image = np.asarray(images.to_float(test.images))
  start = time.perf_counter()
  edited = np.asarray(
    model.edit(0, test.images, mask, label=test.labels, **options)
  )
  seconds = time.perf_counter() - start
  inside = mask[None, :, :, None]
  mean = image[:, ~mask].mean(axis=1).reshape(-1, 1, 1, 1)
  baseline = np.where(inside, mean, image)
  agreement = [
    metrics.class_agreement(classifier(x)[0], test.labels)
    for x in (edited, baseline, image)
  ]
  kept = (edited == image)[:, ~mask].all(axis=(1, 2)).sum()
  shown = [image, np.where(inside, GREY, image), edited]
  grid = images.grid(
    images.stack_rows(*(x[:16] for x in shown)), columns=16, scale=3
  )
  images.save_image(workdir / f'{name.replace(" ", "_")}.png', grid)
  cells = (
    name,
    *(f'{x:.3f}' for x in agreement),
    *(f'{psnr(image, x, mask):.2f}' for x in (edited, baseline)),
    *(f'{seam(x, mask):.3f}' for x in (edited, image)),
    f'{kept} of {len(image)}',
    f'{seconds:.1f}',
  )
  return f'| {" | ".join(cells)} |'


HEAD = """\
| mask | class, edited | mean fill | original | PSNR, edited | mean fill \
| seam, edited | original | kept outside | seconds |
|---|---|---|---|---|---|---|---|---|---|"""


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('run', type=pathlib.Path, help='the run of a prior')
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--num', type=int, default=500)
  parser.add_argument('--dilate', type=int, help='1 by default')
  parser.add_argument('--choice-temperature', type=float, help="the config's")
  parser.add_argument('--guidance', type=float, help="the config's")
  arguments = parser.parse_args(argv)
  asked = {
    name: value
    for name in ('dilate', 'choice_temperature', 'guidance')
    if (value := getattr(arguments, name)) is not None
  }

  def go():
    model = vq_jax.load(arguments.run)
    train, test = (
      data.in_memory(data.open_source(SOURCE, split))
      for split in ('train', f'test[:{arguments.num}]')
    )
    classifier = classifier_lib.load_or_fit(
      train.images,
      train.labels,
      train.num_classes,
      cache_dir=arguments.workdir / 'classifier',
      epochs=8,
    )
    print(HEAD)
    for name, mask in masks().items():
      print(
        row(model, classifier, test, name, mask, arguments.workdir, asked),
        flush=True,
      )
    wide = model.outpaint(
      0, test.images[:16], right=28, label=test.labels[:16], **asked
    )
    images.save_image(
      arguments.workdir / 'outpainted.png',
      images.grid(wide, columns=4, scale=4),
    )

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
