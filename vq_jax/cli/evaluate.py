"""`vqjax evaluate`: numbers of generated or reconstructed images."""

import argparse
import dataclasses
import hashlib
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax

import vq_jax
from vq_jax import evaluation
from vq_jax.cli import flags
from vq_jax.cli import sampling
from vq_jax.cli import sweep
from vq_jax.runs import locations
from vq_jax.utils import cpu
from vq_jax.utils import devices
from vq_jax.utils import paths

_FOLDER, _CLASSIFIER = 'evaluation', 'classifier'


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'evaluate',
    'Evaluate a run: a prior by the images that it generates, an autoencoder '
    'by its reconstructions. Or compare two sets of images, with --generated '
    'and --reference. If the command is stopped, the same command resumes it.',
    run,
    example='vqjax evaluate fashion --num 1000 --features classifier',
  )
  parser.add_argument(
    'folder', metavar='RUN', nargs='?', help='The run folder.'
  )
  parser.add_argument(
    '--generated',
    metavar='DIR',
    help='A folder of images, or an .npz file with images (arr_0), to evaluate '
    'in place of a run.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--metrics',
    metavar='fid,is',
    help='The metrics: fid, sfid, is, kid, pr (precision and recall), dc '
    '(density and coverage), cmmd, cas; of reconstructions also mse, psnr, '
    'ssim, lpips, codebook. By default all that can be computed but cas.',
    type=_names,
    default=argparse.SUPPRESS,
  )
  group = parser.add_argument_group('options of the evaluation')
  flags.add_fields(group, evaluation.EvaluationOptions, without=('metrics',))
  group = parser.add_argument_group('files')
  flags.add_fields(group, evaluation.Save, prefix='save-')
  group.add_argument(
    '--out',
    metavar='FILE',
    help='The JSON file to write; by default one in the folder evaluation of '
    'the run.',
    default=argparse.SUPPRESS,
  )
  sweep.add(parser)
  sampling.add(parser)


def _names(text: str) -> tuple[str, ...]:
  return tuple(part.strip() for part in text.split(','))


def run(arguments) -> None:
  """Runs the command."""
  if (arguments.folder is None) == ('generated' not in arguments):
    raise ValueError('give either a run folder or --generated, and not both.')
  if 'out' in arguments:
    paths.check_file(arguments.out)
  options = evaluation.EvaluationOptions(
    **flags.get_fields(arguments, evaluation.EvaluationOptions)
  )
  cpu.use_cpu_cores(options.batch_size)
  devices.initialize_distributed()
  save = evaluation.Save(
    **flags.get_fields(arguments, evaluation.Save, prefix='save_')
  )
  if arguments.folder is None:
    record, out = _compare(arguments, options, save)
  elif 'sweep' in arguments:
    _sweep(arguments, options, save)
    return
  else:
    record, out = _evaluate_run(arguments, options, save)
  if jax.process_index() > 0:
    return
  print(record.table())
  if out is not None:
    record.write(out)
    print(f'Wrote {out}.')


def _evaluate_run(
  arguments, options: evaluation.EvaluationOptions, save: evaluation.Save
) -> tuple[evaluation.Record, pathlib.Path]:
  """Evaluates a run; returns the record and its file."""
  run_folder = locations.get_output_folder(arguments.folder)
  model, folder = vq_jax.load(arguments.folder), run_folder / _FOLDER
  shared: dict[str, Any] = {'save': save}
  if options.features == _CLASSIFIER:
    shared['extractor'] = evaluation.classifier.load_extractor(
      model, options, run_folder
    )
  sampling_options = sampling.options_from(arguments)
  if model.prior is None:
    if sampling_options:
      raise ValueError(
        'this run is an autoencoder, which has no sampling options; leave them '
        'out.'
      )
    record = evaluation.evaluate_reconstruction(
      model, folder, options, **shared
    )
  else:
    samplers = sampling.samplers_from(arguments, model)
    record = evaluation.evaluate_generation(
      model, folder, options, sampler=samplers, **shared
    )
  record = dataclasses.replace(
    record, images=f'{arguments.folder}: {record.images}'
  )
  parts = [record.kind, options.features.replace(os.sep, '_')]
  parts.append(str(options.num))
  parts += [f'{name}={value}' for name, value in sampling_options.items()]
  out = getattr(arguments, 'out', folder / f'{"-".join(parts)}.json')
  return record, pathlib.Path(out)


def _sweep(
  arguments, options: evaluation.EvaluationOptions, save: evaluation.Save
) -> None:
  """Evaluates a prior with several values of sampling options."""
  if save != evaluation.Save():
    raise ValueError(
      '--save-samples and --save-statistics go without --sweep; evaluate one '
      'value of each option.'
    )
  model = vq_jax.load(arguments.folder)
  folder = locations.get_output_folder(arguments.folder) / _FOLDER
  sweep.run(arguments, model, options, folder)


def _compare(
  arguments, options: evaluation.EvaluationOptions, save: evaluation.Save
) -> tuple[evaluation.Record, pathlib.Path | None]:
  """Compares two sets of images; returns the record and its file."""
  if options.reference is None or options.data is not None:
    raise ValueError(
      '--generated is compared with real images or their statistics; give them '
      'with --reference.'
    )
  if sampling.options_from(arguments) or 'sweep' in arguments:
    raise ValueError('--generated goes without sampling options.')
  text = f'{os.getcwd()} {arguments.generated} {options}'
  folder = paths.get_cache_folder() / _FOLDER
  folder /= hashlib.sha256(text.encode()).hexdigest()[:16]
  record = evaluation.compare_image_sets(
    arguments.generated, options.reference, folder, options, save=save
  )
  devices.wait_for_processes('compared')
  shutil.rmtree(folder, ignore_errors=True)
  out = getattr(arguments, 'out', None)
  return record, out if out is None else pathlib.Path(out)
