"""The model card of an exported run, README.md, as the Hugging Face Hub has it.

https://huggingface.co/docs/hub/model-cards
"""

import itertools
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import yaml

from vq_jax.model import Model
from vq_jax.runs import layout
from vq_jax.runs import measurements
from vq_jax.utils import trees

NAME = 'README.md'
_COPIES = {
  layout.AUTOENCODER: 'autoencoder',
  layout.PARENT: 'prior of the parent level',
  layout.GENERATOR: 'generator',
}


def make(
  model: Model,
  folder: pathlib.Path,
  *,
  title: str,
  dtype: str,
  licence: str | None = None,
) -> str:
  """Returns the text of the card.

  Args:
    model: the model of the run.
    folder: the export, whose configs and measurements are quoted.
    title: name of the model.
    dtype: dtype of the exported parameters.
    licence: identifier of the licence; None for that in the config, or
      'unknown'.
  """
  released = model.run_config.get('released', {})
  licence = licence or released.get('licence') or 'unknown'
  parts = [
    _front_matter(model, licence),
    f'# {title}\n\n{_describe(model, dtype)}',
    _usage(model, title),
    *(part for run in _list_runs(folder) for part in _training(*run)),
    f'## Licence\n\n{_describe_licence(licence)}',
  ]
  return '\n\n'.join(parts) + '\n'


def _front_matter(model: Model, licence: str) -> str:
  """Returns the metadata that the Hub reads."""
  fields = {
    'library_name': 'vq_jax',
    'license': licence,
    'tags': ['vq_jax', 'jax', 'flax', 'vector-quantization'],
  }
  if model.prior is not None:
    fields['pipeline_tag'] = 'unconditional-image-generation'
  source = model.info.data.source
  if source.startswith('tfds:'):
    fields['datasets'] = [source.removeprefix('tfds:').partition(':')[0]]
  text = yaml.safe_dump(fields, sort_keys=False)
  return f'---\n{text}---'


def _describe(model: Model, dtype: str) -> str:
  """Says what the model is."""
  size = ' x '.join(map(str, model.info.image_shape))
  lines = []
  for name, variables in model.variables.items():
    module = {
      'autoencoder': model.autoencoder,
      'prior': model.prior,
      'critic': model.critic,
    }[name]
    count = trees.count(variables['params'])
    lines.append(f'| {name} | `{type(module).__name__}` | {count:,} |')
  table = '| part | module | parameters |\n|---|---|---|\n' + '\n'.join(lines)
  grids = '; '.join(
    f'one of {grid.codebook_size:,} codes for each {grid.stride} x '
    f'{grid.stride} pixels'
    for grid in model.autoencoder.token_grids
  )
  names = model.info.class_names
  classes = ''
  if model.vocab is not None and model.vocab.num_classes:
    some = ', '.join(names[:20]) + (', ...' if len(names) > 20 else '')
    classes = f' It generates images of {len(names)} classes: {some}.'
  return (
    f'A model of images of {size}, for vq_jax.{classes}\n\n{table}\n\n'
    f'- Tokens: {grids or "none; the latent is continuous"}\n'
    f'- Parameters: averaged where training kept an average, {dtype}'
  )


def _usage(model: Model, title: str) -> str:
  """Shows how the model is loaded."""
  use = 'reconstructions = model.reconstruct(images)  # [B, H, W, C] in [0, 1]'
  if model.vocab is not None:
    labels = ', labels=[0, 1]' if model.vocab.num_classes else ', num=2'
    use = f'images = model.generate(0{labels})  # [2, H, W, C] in [0, 1]'
  return (
    '## Usage\n\n```python\nimport vq_jax\n\n'
    f"model = vq_jax.load('{title}')  # this folder, or hf://org/{title}\n"
    f'{use}\n```'
  )


def _list_runs(
  folder: pathlib.Path, of: str = ''
) -> Iterator[tuple[str, pathlib.Path]]:
  """Yields a run and those that it needs: ' of the <name>' and the folder."""
  yield of, folder
  for name, described in _COPIES.items():
    if (folder / name).is_dir():
      yield from _list_runs(folder / name, f' of the {described}')


def _training(of: str, folder: pathlib.Path) -> Iterator[str]:
  """Yields sections on the training of a run, and on its evaluations."""
  measured = measurements.read(folder)
  metrics = {
    name: f'{value:.5g}' for name, value in measured['metrics'].items()
  }
  rows = {**_describe_config(layout.read_complete_config(folder)), **metrics}
  table = '\n'.join(
    f'| {name} | {value} |' for name, value in rows.items() if value is not None
  )
  yield f'## Training{of}\n\n| | |\n|---|---|\n{table}'
  results = list(itertools.chain(*measured['evaluations'].values()))
  if results:
    header = '| metric | value | real images | samples | measured with |'
    lines = '\n'.join(map(_evaluation_row, results))
    yield f'## Evaluation{of}\n\n{header}\n|---|---|---|---|---|\n{lines}'


def _describe_config(run_config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what the config says of the data and the training."""
  config = run_config['config']
  rows = {'data': config['data'].get('source'), 'task': config['task']}
  rows['batch size'] = config['data'].get('batch_size')
  for section, names in {
    'optim': ('learning_rate', 'schedule', 'weight_decay', 'ema_decay'),
    'train': ('total_steps', 'total_epochs'),
  }.items():
    for name in names:
      rows[name.replace('_', ' ')] = config.get(section, {}).get(name)
  rows['seed'] = config.get('seed')
  rows['first parameters from'] = config.get('init_from')
  rows['version of vq_jax'] = run_config.get('vq_jax')
  if released := run_config.get('released'):
    rows['converted from'] = f'{released["name"]}: {released["url"]}'
  return rows


def _evaluation_row(result: Mapping[str, Any]) -> str:
  """Returns a row for one result; see `measurements.read`."""
  floor = result['floor']
  cells = (
    f'{result["kind"]}: {result["metric"]}',
    f'{result["value"]:.5g}',
    '' if floor is None else f'{floor:.5g}',
    str(result['samples']),
    '; '.join(result['measured with']),
  )
  return f'| {" | ".join(cells)} |'


def _describe_licence(licence: str) -> str:
  """Says under which licence the weights are."""
  if licence == 'unknown':
    return 'No licence was stated when these weights were exported.'
  return f'The weights may be used under the licence `{licence}`.'
