"""The page of a running training follows the images that it writes."""

import base64
import itertools
import os
import re

import numpy as np
import pytest

from vq_jax.cli import main as cli
from vq_jax.runs import layout
from vq_jax.utils import images
from vq_jax.workflows import sample_page


@pytest.fixture
def run(tmp_path):
  layout.write_config(tmp_path, {'config': {}})
  return tmp_path


def write(run, name, step, value=0) -> bytes:
  path = run / 'samples' / f'{name}_{step:08d}.png'
  images.save_image(path, np.full((2, 2, 1), value, np.uint8))
  return path.read_bytes()


def on_page(run) -> list[bytes]:
  found = re.findall('base64,([^"]*)', (run / sample_page.PAGE).read_text())
  return [base64.b64decode(text) for text in found]


def test_the_page_holds_the_latest_grids_of_each_name(run, capsys):
  written = [write(run, 'samples', step, step) for step in (2, 4, 100)]
  other = write(run, 'reconstructions', 4, 9)
  (run / 'samples' / 'notes.png').touch()
  assert cli.main(['samples', str(run), '--num', '2']) == 0
  assert on_page(run) == [written[2], written[1], other]
  out = capsys.readouterr().out.splitlines()
  assert [line.split()[1] for line in out[:-1]] == ['2', '4', '4', '100']
  assert out[-1] == f'page: {run}/samples.html'
  assert 'refresh' not in (run / sample_page.PAGE).read_text()


def test_watching_names_what_is_new_and_writes_the_page_again(run):
  events = iter(
    [
      lambda: write(run, 'samples', 2),
      lambda: None,
      lambda: write(run, 'samples', 4, 1),
      lambda: os.utime(run / 'samples' / 'samples_00000002.png', (1, 1)),
    ]
  )
  found = sample_page.watch(run, seconds=7, sleep=lambda _: next(events)())
  seen = []
  for new in itertools.islice(found, 3):
    seen.append([grid.step for grid in new])
    assert len(on_page(run)) == len({s for steps in seen for s in steps})
  assert seen == [[2], [4], [2]]
  assert 'content="7"' in (run / sample_page.PAGE).read_text()


@pytest.mark.parametrize(
  ('more', 'message'),
  [
    ([], 'has no image grids yet'),
    (['--watch', '--seconds', '0'], '--seconds'),
    (['--num', '0'], '--num'),
  ],
)
def test_what_is_wrong_is_said_in_one_line(run, more, message, capsys):
  assert cli.main(['samples', str(run), *more]) == 1
  error = capsys.readouterr().err
  assert error.startswith('error: ') and message in error
  assert error.count('\n') == 1


@pytest.mark.parametrize('more', [[], ['--watch']])
def test_a_training_without_grids_is_not_waited_for(run, more, capsys):
  layout.write_config(run, {'config': {'train': {'num_images': 0}}})
  assert cli.main(['samples', str(run), *more]) == 1
  assert 'with config.train.num_images=0' in capsys.readouterr().err
  write(run, 'samples', 2)
  assert cli.main(['samples', str(run)]) == 0


def test_a_packaged_model_has_no_grids(capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert cli.main(['samples', 'fashion']) == 1
  assert 'packaged and exported models have none' in capsys.readouterr().err


def test_watching_ends_with_ctrl_c(run, capsys, monkeypatch):
  def interrupt(*_, **options):
    del options
    raise KeyboardInterrupt

  monkeypatch.setattr(sample_page, 'watch', interrupt)
  assert cli.main(['samples', str(run), '--watch']) == 130
  captured = capsys.readouterr()
  assert 'waiting for the first image grid' in captured.out
  assert captured.err == 'stopped.\n'
