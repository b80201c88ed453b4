"""The model card of an exported run, README.md, as the Hugging Face Hub has it.

https://huggingface.co/docs/hub/model-cards
"""

import json
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import yaml

from vq_jax.model import Model
from vq_jax.utils import trees

NAME = 'README.md'
_METRICS, _EVALUATIONS = 'metrics.jsonl', 'evaluation'
_NO_QUALITY = ('images_per_second', 'learning_rate', 'grad_norm')


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
    folder: the run folder, whose metrics and evaluations are quoted.
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
    _training(model, folder),
    *_evaluations(folder),
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
    f'A model of images of {size} for '
    f'vq_jax {model.run_config.get("vq_jax", "")}.{classes}\n\n{table}\n\n'
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


def _training(model: Model, folder: pathlib.Path) -> str:
  """Describes the data, the training and its last metrics."""
  config = model.run_config['config']
  rows = {'data': config['data'].get('source'), 'task': config['task']}
  rows['batch size'] = config['data'].get('batch_size')
  for section, names in {
    'optim': ('learning_rate', 'schedule', 'weight_decay', 'ema_decay'),
    'train': ('total_steps', 'total_epochs'),
  }.items():
    for name in names:
      rows[name.replace('_', ' ')] = config.get(section, {}).get(name)
  rows['seed'] = config.get('seed')
  if released := model.run_config.get('released'):
    rows['converted from'] = f'{released["name"]}: {released["url"]}'
  for name, value in _read_last_metrics(folder).items():
    rows[name.replace('_', ' ')] = f'{value:.5g}'
  table = '\n'.join(
    f'| {name} | {value} |' for name, value in rows.items() if value is not None
  )
  return f'## Training\n\n| | |\n|---|---|\n{table}'


def _read_last_metrics(folder: pathlib.Path) -> dict[str, Any]:
  """Returns the last metrics of each kind, `eval psnr` and the like."""
  path = folder / _METRICS
  found: dict[str, Any] = {}
  for line in path.read_text().splitlines() if path.is_file() else ():
    try:
      row = json.loads(line)
    except ValueError:  # the last line of a training that was killed
      continue
    kind = row.pop('kind', 'train')
    found['step'] = row.pop('step', 0)
    found |= {
      f'{kind} {name}': value
      for name, value in row.items()
      if name not in _NO_QUALITY and isinstance(value, int | float)
    }
  return found


def _evaluations(folder: pathlib.Path) -> Iterator[str]:
  """Yields a section with the evaluations in the run folder, if any."""
  rows = []
  folder = folder / _EVALUATIONS
  files = sorted(folder.glob('*.json')) if folder.is_dir() else ()
  for path in files:
    record = json.loads(path.read_text())
    if isinstance(record, Mapping) and isinstance(record.get('results'), list):
      rows += [_evaluation_row(result) for result in record['results']]
  if rows:
    header = '| metric | value | real images | samples | measured with |'
    yield f'## Evaluation\n\n{header}\n|---|---|---|---|---|\n' + '\n'.join(
      rows
    )


def _evaluation_row(result: Mapping[str, Any]) -> str:
  """Returns a row for one `vq_jax.evaluation.Result`."""
  parts = [
    part['name']
    for part in (result.get('features'), result.get('reference'))
    if part
  ]
  floor = result.get('floor')
  cells = (
    f'{result["kind"]}: {result["metric"]}',
    f'{result["value"]:.5g}',
    '' if floor is None else f'{floor:.5g}',
    str(result['samples']),
    '; '.join(parts),
  )
  return f'| {" | ".join(cells)} |'


def _describe_licence(licence: str) -> str:
  """Says under which licence the weights are."""
  if licence == 'unknown':
    return 'No licence was stated when these weights were exported.'
  return f'The weights may be used under the licence `{licence}`.'
