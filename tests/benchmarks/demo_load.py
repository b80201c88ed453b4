"""Many clients of `vqjax demo` at once: errors, mix-ups, times and memory.

    python -m tests.benchmarks.demo_load RUN

Each client sends requests with its own images and seeds, one after the other:
samples, edits and reconstructions in turn. The images of every answer are
compared, bit for bit, with those that this process computes for the request.
The memory of the server is read after each tenth of the requests. With
`--kinds` larger than 7, the server drops its compiled programs now and then.
"""

import argparse
import base64
import concurrent.futures
import dataclasses
import json
import pathlib
import sys
import threading
import time
from collections.abc import Sequence

import numpy as np

import vq_jax
from tests.demo import client as client_lib
from tests.demo import images
from vq_jax.demo import actions
from vq_jax.demo import inputs
from vq_jax.demo import views


@dataclasses.dataclass(frozen=True)
class Request:
  """A request, and the images that its answer must show."""

  kind: str
  seed: int
  steps: int
  painting: inputs.Painting

  def expected(self, model: vq_jax.Model) -> list[np.ndarray]:
    settings = actions.Settings(
      **defaults(model), seed=self.seed, num=2, steps=self.steps
    )
    if self.kind == 'reconstruct':
      found = actions.reconstruct(model, self.painting.image)
      return images.shown(views.reconstruction(found), 'result')
    if self.kind == 'sample':
      steps = actions.sample(model, settings)
    else:
      steps = actions.inpaint(model, self.painting, settings)
    return images.shown(views.sampled(steps), 'result')

  def send(self, client: client_lib.Client) -> list[np.ndarray]:
    values = {'seed': self.seed, 'num': 2, 'steps': self.steps, 'trace': False}
    if self.kind == 'reconstruct':
      file = client.upload(images.png(self.painting.image))
      html = client.run('rec-run', upload=file)
    elif self.kind == 'sample':
      html = client.run('sample-run', **values)
    else:
      html = client.run('inpaint-run', painter=self.text(), **values)
    return images.shown(html, 'result')

  def text(self) -> str:
    paint = np.repeat(self.painting.mask[..., None], 4, axis=-1)
    png = images.png(paint.astype(np.uint8) * 255)
    parts = json.loads(inputs.encode_painting(self.painting.image))
    return json.dumps({**parts, 'mask': base64.b64encode(png).decode()})


def defaults(model: vq_jax.Model) -> dict[str, object]:
  """The first values of the controls that are not sent."""
  names = ('guidance', 'temperature', 'order', 'choice_temperature')
  return {name: getattr(model.info.sampler, name) for name in names}


def make_requests(model: vq_jax.Model, count: int, kinds: int) -> list[Request]:
  """Makes different requests, with `kinds` different numbers of steps."""
  rng = np.random.default_rng(0)
  height, width, channels = model.info.image_shape
  requests = []
  for number in range(count):
    image = rng.integers(0, 256, (height, width, channels), np.uint8)
    mask = np.zeros((height, width), bool)
    mask[: height // 2, rng.integers(1, width) :] = True
    requests.append(
      Request(
        kind=('sample', 'inpaint', 'reconstruct')[number % 3],
        seed=number,
        steps=1 + number // 3 % kinds,
        painting=inputs.Painting(image=image, mask=mask),
      )
    )
  return requests


@dataclasses.dataclass
class Tally:
  """What the clients have seen."""

  seconds: list[float] = dataclasses.field(default_factory=list)
  errors: list[str] = dataclasses.field(default_factory=list)
  wrong: int = 0
  megabytes: list[float] = dataclasses.field(default_factory=list)
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


def memory(process_id: int) -> float:
  """The resident memory of a process, in MB."""
  text = pathlib.Path(f'/proc/{process_id}/status').read_text()
  return int(text.split('VmRSS:')[1].split()[0]) / 1000


def measure(
  url: str,
  process_id: int,
  requests: Sequence[Request],
  expected: Sequence[list[np.ndarray]],
  clients: int,
) -> Tally:
  """Sends the requests from several clients at once."""
  tally = Tally()
  each = max(1, len(requests) // 10)

  def work(first: int) -> None:
    client = client_lib.Client(url)
    for number in range(first, len(requests), clients):
      start = time.perf_counter()
      try:
        found = requests[number].send(client)
      except (AssertionError, OSError, RuntimeError) as error:
        with tally.lock:
          tally.errors.append(f'{requests[number].kind}: {error!r}'[:200])
        continue
      same = len(found) == len(expected[number]) > 0 and all(
        map(np.array_equal, found, expected[number])
      )
      with tally.lock:
        tally.seconds.append(time.perf_counter() - start)
        tally.wrong += not same
        if len(tally.seconds) % each == 0:
          tally.megabytes.append(memory(process_id))

  with concurrent.futures.ThreadPoolExecutor(clients) as pool:
    for done in [pool.submit(work, first) for first in range(clients)]:
      done.result()
  return tally


def main(argv: list[str] | None = None) -> int:
  """Runs the program; the exit code is 1 if an answer was wrong or missing."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('run', metavar='RUN', help='The run folder of a MaskGIT.')
  parser.add_argument('--clients', type=int, default=10)
  parser.add_argument('--requests', type=int, default=200)
  parser.add_argument(
    '--kinds', type=int, default=4, help='Numbers of steps, at most 64.'
  )
  arguments = parser.parse_args(argv)
  model = vq_jax.load(arguments.run)
  requests = make_requests(model, arguments.requests, arguments.kinds)
  expected = [request.expected(model) for request in requests]
  with client_lib.serving(arguments.run) as (url, process):
    start = time.perf_counter()
    tally = measure(url, process.pid, requests, expected, arguments.clients)
    seconds = time.perf_counter() - start
  quantiles = np.percentile(tally.seconds, [50, 95, 100])
  print(f'clients                {arguments.clients}')
  print(f'requests               {len(requests)}')
  print(f'errors                 {len(tally.errors)}')
  print(f'wrong answers          {tally.wrong}')
  print(f'requests per second    {len(requests) / seconds:.1f}')
  print('seconds p50, p95, max  ' + ' '.join(f'{x:.2f}' for x in quantiles))
  print(
    'MB after each tenth    ' + ' '.join(f'{x:.0f}' for x in tally.megabytes)
  )
  for error in sorted(set(tally.errors)):
    print(error, file=sys.stderr)
  return int(bool(tally.errors or tally.wrong))


if __name__ == '__main__':
  sys.exit(main())
