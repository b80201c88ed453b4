"""The notebooks run from top to bottom, and are kept without outputs."""

import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / 'colab').glob('*.ipynb'))


@pytest.fixture
def checkout(tmp_path):
  """A folder for the files that a notebook writes, with links to the code."""
  for name in ('configs', 'train', 'vq_jax'):
    (tmp_path / name).symlink_to(ROOT / name)
  (tmp_path / 'colab').mkdir()
  return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_at_smoke_size(path, checkout, monkeypatch):
  monkeypatch.setenv('VQ_JAX_SMOKE', '1')
  notebook = nbformat.read(path, as_version=4)
  nbclient.NotebookClient(
    notebook,
    timeout=600,
    kernel_name='python3',
    resources={'metadata': {'path': str(checkout / 'colab')}},
  ).execute()
  images = [
    output
    for cell in notebook.cells
    for output in cell.get('outputs', [])
    if 'image/png' in output.get('data', {})
  ]
  assert images


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_no_outputs(path):
  notebook = nbformat.read(path, as_version=4)
  nbformat.validate(notebook)
  for cell in notebook.cells:
    if cell.cell_type == 'code':
      assert not cell.outputs and cell.execution_count is None


def test_all_notebooks_begin_with_a_badge_and_the_same_installation():
  installations = set()
  for path in NOTEBOOKS:
    title, install = nbformat.read(path, as_version=4).cells[:2]
    assert 'colab-badge.svg' in title.source.splitlines()[0]
    lines = install.source.splitlines()
    assert sum(line.startswith('EXTRAS = [') for line in lines) == 1
    kept = [line for line in lines if not line.startswith('EXTRAS = [')]
    installations.add('\n'.join(kept))
  assert len(installations) == 1


def test_the_docs_list_all_notebooks():
  text = (ROOT / 'docs/notebooks.md').read_text()
  assert not [path for path in NOTEBOOKS if f'colab/{path.name}' not in text]
