"""How often images that a classifier-text guide made show what was asked for.

    python -m tests.benchmarks.steer_by_classifier RUN --workdir W

Optimises images for prompts that name a class of ImageNet each, three seeds of
each prompt at once, guided by EfficientNet-Lite0 and MiniLM. EfficientNet-Lite2
did not guide and judges: an image is a hit if the class is among its five
most probable. Prints a line for each prompt, and writes a grid, a row for each.
Prompts that are done already are not optimised again.
"""

import argparse
import dataclasses
import json
import pathlib
import time

import jax
import numpy as np

import vq_jax
from vq_jax import features
from vq_jax import guidance
from vq_jax.utils import images
from vq_jax.utils import paths

# A prompt and the name of its class.
PROMPTS = (
  ('a volcano', 'volcano'),
  ('a daisy', 'daisy'),
  ('a goldfish', 'goldfish'),
  ('a strawberry', 'strawberry'),
  ('a jellyfish', 'jellyfish'),
  ('a lemon', 'lemon'),
  ('a ladybug', 'ladybug'),
  ('a zebra', 'zebra'),
  ('a castle', 'castle'),
  ('a pizza', 'pizza'),
)


def find_class(name: str) -> int:
  """Returns the number of the class whose first name is `name`."""
  names = [each.split(',')[0].lower() for each in features.class_names()]
  return names.index(name)


def main() -> None:
  """Prints the table and writes the grid."""
  parser = argparse.ArgumentParser()
  parser.add_argument('run')
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--size', type=int, default=128)
  parser.add_argument('--steps', type=int, default=200)
  parser.add_argument('--seeds', type=int, default=3)
  parser.add_argument('--cutouts', type=int, default=8)
  parser.add_argument('--view', type=int, default=224, help='side of a cutout')
  parser.add_argument('--prompts', type=int, default=len(PROMPTS))
  parser.add_argument('--learning-rate', type=float, default=0.1)
  parser.add_argument('--form', default='quantized')
  arguments = parser.parse_args()
  model = vq_jax.load(arguments.run)
  guide = guidance.load_guide('classifier-text')
  network = guide.module.classifier.clone(size=arguments.view)
  guide = dataclasses.replace(
    guide,
    module=guide.module.clone(classifier=network),
    size=arguments.view,
  )
  judge, variables = features.load('efficientnet_lite2')
  judge = jax.jit(judge.apply)
  options = guidance.GuidanceOptions(
    steps=arguments.steps,
    num_cutouts=arguments.cutouts,
    learning_rate=arguments.learning_rate,
    form=arguments.form,
    cutouts='overview',
    augmentations='flip,affine,color,noise',
  )
  rows, hits = [], []
  for prompt, name in PROMPTS[: arguments.prompts]:
    path = arguments.workdir / f'{name}.npy'
    start = time.monotonic()
    if not path.is_file():
      found = model.dream(
        0,
        prompt,
        guide,
        num=arguments.seeds,
        size=(arguments.size,) * 2,
        options=options,
      )
      with paths.replacing(path) as temporary, temporary.open('wb') as file:
        np.save(file, np.asarray(found))
    found = np.load(path)
    logits = np.asarray(judge(variables, found)[0])
    ranks = (logits > logits[:, find_class(name)][:, None]).sum(axis=1)
    rows.append(found)
    hits.extend(ranks < 5)
    seconds = time.monotonic() - start
    print(
      f'{prompt}: ranks {(ranks + 1).tolist()}, {seconds:.0f} s', flush=True
    )
    grid = images.grid(np.concatenate(rows), columns=arguments.seeds)
    images.save_image(arguments.workdir / 'grid.png', grid)
  share = float(np.mean(hits))
  paths.write_text(
    arguments.workdir / 'figures.json',
    json.dumps({'top_5': share, 'images': len(hits)}),
  )
  print(f'{share:.0%} of {len(hits)} images have their class in the top 5')


if __name__ == '__main__':
  main()
