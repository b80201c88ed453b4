"""Sweeps over sampling options: what is accepted, resumed, and shown."""

import json
import subprocess
import sys

import pytest
from PIL import Image

import vq_jax
from vq_jax.evaluation import plots
from vq_jax.evaluation import sweep
from vq_jax.utils import packages

SETTINGS = {'num': 10, 'seed': 0}


@pytest.fixture(scope='module')
def model(maskgit):
  return vq_jax.load(maskgit)


def record(fid, **more):
  """A record with a distance, its floor, and other numbers."""
  network = {'name': 'classifier', 'checksum': '0', 'resizer': 'none'}
  results = [{'metric': 'fid', 'value': fid, 'floor': 0.5, 'features': network}]
  results += [{'metric': k, 'value': v} for k, v in more.items()]
  return {'results': results}


def run(model, folder, sweeps, *, settings=SETTINGS, evaluated=None):
  """Runs a sweep whose distance is guidance + steps."""

  def evaluate(combination):
    if evaluated is not None:
      evaluated.append(combination.name)
    found = combination.samplers[-1]
    value = found.guidance + found.steps
    return record(value, **{'is': 1.0}, recall=0.5, precision=0.25)

  return sweep.run(
    sweep.plan(model, sweeps), folder, evaluate, settings=settings
  )


SWEEPS = ['guidance=0,1.5', 'steps=2,3']


def test_all_combinations_with_the_fixed_options(model):
  found = sweep.plan(model, SWEEPS, {'order': 'random'})
  assert [dict(c.options) for c in found] == [
    {'guidance': 0.0, 'steps': 2},
    {'guidance': 0.0, 'steps': 3},
    {'guidance': 1.5, 'steps': 2},
    {'guidance': 1.5, 'steps': 3},
  ]
  sampler = found[-1].samplers[-1]
  assert (sampler.guidance, sampler.steps) == (1.5, 3)
  assert {s.order for c in found for s in c.samplers} == {'random'}
  assert found[0].name == 'guidance=0.0,steps=2'


def test_words_and_none(model):
  found = sweep.plan(model, ['top-k=none,5', 'schedule=cosine,linear'])
  options = [tuple(c.options.values()) for c in found]
  assert options[0] == (None, 'cosine') and options[-1] == (5, 'linear')


@pytest.mark.parametrize(
  ('sweeps', 'message'),
  [
    (['guidnce=1,2'], "option 'guidnce'.*mean 'guidance'"),
    (['guidance'], 'guidance=0,1,2; got'),
    (['guidance=1,,2'], 'guidance=0,1,2; got'),
    (['guidance=one'], "guidance must be a number; got 'one'"),
    (['temperature=1,-1'], 'temperature must be.*got -1'),
    (['guidance=nan'], 'guidance must be'),
    (['steps=8.5'], "steps must be a whole number; got '8.5'"),
    (['steps=0'], 'steps must be'),
    (['schedule=cosine,cosin'], "schedule 'cosin'.*mean 'cosine'"),
    (['steps=8,8'], 'must differ'),
    (['steps=8', 'steps=9'], 'steps is given twice'),
    (['order=random'], 'order is given twice'),
  ],
)
def test_mistakes_are_found_before_any_work(model, sweeps, message):
  with pytest.raises(ValueError, match=message) as caught:
    sweep.plan(model, sweeps, {'order': 'halton'})
  assert '\n' not in str(caught.value)


def test_an_autoencoder_has_no_sweep(tokenizer):
  with pytest.raises(ValueError, match='without a prior'):
    sweep.plan(vq_jax.load(tokenizer), ['steps=8'])


def test_a_finished_combination_is_not_evaluated_again(model, tmp_path):
  first, second, other = [], [], []
  rows = run(model, tmp_path, SWEEPS[:1], evaluated=first)
  assert len(first) == 2
  again = run(model, tmp_path, ['guidance=1.5,0,2'], evaluated=second)
  assert second == ['guidance=2.0']
  assert [row.values for row in again[:2]] == [row.values for row in rows[::-1]]
  run(
    model, tmp_path, SWEEPS[:1], settings=SETTINGS | {'seed': 1},
    evaluated=other,
  )  # fmt: skip
  assert other == first
  (tmp_path / f'{first[0]}.json').write_text('{"cut off')
  run(
    model, tmp_path, SWEEPS[:1], settings=SETTINGS | {'seed': 1},
    evaluated=other,
  )  # fmt: skip
  assert other == first + first[:1]


def test_the_table_and_its_file(model, tmp_path):
  rows = run(model, tmp_path / 'parts', SWEEPS)
  lines = [line.split() for line in sweep.table(rows).splitlines()]
  assert lines[0] == 'guidance steps fid is recall precision'.split()
  assert lines[4] == ['1.5', '3', '4.5', '1', '0.5', '0.25']
  assert lines[5] == ['real', '0.5']
  sweep.write(tmp_path / 'sweep.json', rows)
  found = json.loads((tmp_path / 'sweep.json').read_text())
  assert [x['fid'] for x in found] == [2.0, 3.0, 3.5, 4.5]
  assert found[0]['record'] == rows[0].record


def test_lines_connect_rows_that_differ_in_the_first_option(model, tmp_path):
  rows = run(model, tmp_path, SWEEPS)
  found = plots.lines(rows)
  assert found.keys() == {'steps 2', 'steps 3'}
  assert found['steps 3'] == [rows[1], rows[3]]


def test_the_plot(model, tmp_path):
  pytest.importorskip('matplotlib')
  rows = run(model, tmp_path / 'parts', SWEEPS)
  path = tmp_path / 'new' / 'sweep.png'
  shown = plots.plot(path, rows)
  assert shown == ['is', 'fid', 'recall', 'precision']
  width, height = Image.open(path).size
  assert width > 2 * height
  for row in rows:
    del row.values['is']
  assert plots.plot(path, rows) == ['recall', 'precision']
  assert Image.open(path).size[0] < width
  for row in rows:
    del row.values['recall']
  path.unlink()
  assert plots.plot(path, rows) == [] and not path.exists()


def test_the_plot_needs_matplotlib(model, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  rows = run(model, tmp_path / 'parts', SWEEPS)
  with pytest.raises(
    packages.MissingPackageError, match='plot.*pip install matplotlib'
  ):
    plots.plot(tmp_path / 'sweep.png', rows)


def test_matplotlib_is_imported_only_for_a_plot():
  code = 'import sys, vq_jax.evaluation; assert "matplotlib" not in sys.modules'
  subprocess.run([sys.executable, '-c', code], check=True)
