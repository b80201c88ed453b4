"""Takes the picture of the demo page in docs/demo.md, in Debian's chromium.

python -m tests.benchmarks.demo_screenshot RUN --out docs/images/demo.png
"""

import argparse
import io
import pathlib
import shutil
import sys

from PIL import Image

from tests.demo import client


def main(argv: list[str] | None = None) -> int:
  """Runs the program."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('run', metavar='RUN', help='The run folder of a MaskGIT.')
  parser.add_argument('--label', default='Ankle boot', help='A class.')
  parser.add_argument('--seed', default='3', help='The seed of the images.')
  parser.add_argument('--out', default='demo.png')
  arguments = parser.parse_args(argv)
  from playwright import sync_api

  with (
    client.serving(arguments.run) as (url, _),
    sync_api.sync_playwright() as playwright,
  ):
    browser = playwright.chromium.launch(
      executable_path=shutil.which('chromium'), args=['--no-sandbox']
    )
    page = browser.new_page(viewport={'width': 1280, 'height': 800})
    page.set_default_timeout(120_000)
    page.goto(url, wait_until='networkidle')
    edit(page, arguments.label, arguments.seed)
    picture = Image.open(io.BytesIO(page.screenshot()))
    browser.close()
  # 128 colors: the file has a third of its size, and nobody sees it.
  picture.convert('RGB').quantize(128).save(arguments.out, optimize=True)
  size = pathlib.Path(arguments.out).stat().st_size
  print(f'{arguments.out}: {size / 1000:.0f} kB')
  return 0


def edit(page, label: str, seed: str) -> None:
  """Samples an image of a class, paints over its lower half, and inpaints."""
  page.get_by_role('tab', name='Edit').click()
  page.locator('#edit-label input').click()
  page.get_by_role('option', name=label, exact=True).click()
  page.locator('#edit-seed input[type=number]').fill(seed)
  page.locator('#edit-num input[type=number]').fill('4')
  page.click('#edit-random')
  page.wait_for_selector('.vq-painter:not(.vq-empty)')
  box = page.locator('.vq-paint-mask').bounding_box()
  left, width = box['x'], box['width']
  for row in (0.68, 0.8):
    y = box['y'] + row * box['height']
    page.mouse.move(left + 0.55 * width, y)
    page.mouse.down()
    page.mouse.move(left + 0.9 * width, y, steps=9)
    page.mouse.up()
  page.click('#inpaint-run')
  page.wait_for_selector('#edit-output img.vq-film')
  page.wait_for_timeout(1500)


if __name__ == '__main__':
  sys.exit(main())
