"""`vqjax evaluate RUN --sweep`: combinations of sampling options."""

import argparse
import dataclasses
import os
import pathlib

import jax

import vq_jax
from vq_jax import evaluation
from vq_jax import features
from vq_jax._version import __version__
from vq_jax.cli import sampling
from vq_jax.evaluation import generation
from vq_jax.utils import packages
from vq_jax.utils import paths


def add(parser: argparse.ArgumentParser) -> None:
  """Adds the flag to the command."""
  parser.add_argument(
    '--sweep',
    metavar='OPTION=A,B',
    action='append',
    help='Evaluate several values of a sampling option, such as '
    'guidance=0,1,2; may be given for several options, whose combinations are '
    'evaluated. The table and a plot are written beside each other. Finished '
    'combinations are not evaluated again.',
    default=argparse.SUPPRESS,
  )


def run(
  arguments: argparse.Namespace,
  model: vq_jax.Model,
  options: evaluation.EvaluationOptions,
  folder: pathlib.Path,
) -> None:
  """Evaluates all combinations, and writes the table and the plot.

  Args:
    arguments: the arguments of the command.
    model: the prior.
    options: the options of each evaluation.
    folder: the folder for evaluations of the run.

  Raises:
    ValueError: if an option of the sweep is unknown, or a value is wrong.
  """
  combinations = evaluation.sweep.plan(
    model, arguments.sweep, sampling.options_from(arguments)
  )
  network = options.features.replace(os.sep, '_')
  out = paths.check_file(
    getattr(arguments, 'out', folder / f'sweep-{network}-{options.num}.json')
  )
  extractor = _load_extractor(model, options, folder)

  def evaluate(combination: evaluation.sweep.Combination):
    record = evaluation.evaluate_generation(
      model,
      folder,
      options,
      sampler=list(combination.samplers),
      extractor=extractor,
    )
    return record.to_json()

  def report(number, combination, done):
    if jax.process_index() == 0:
      note = ', evaluated already' if done else ''
      print(f'{number + 1}/{len(combinations)}: {combination.name}{note}')

  rows = evaluation.sweep.run(
    combinations,
    out.with_suffix(''),
    evaluate,
    settings={
      'options': dataclasses.asdict(options),
      'model': generation.fingerprint(model),
      'reference': generation.describe_reference(model, options),
      'checksum': None if extractor is None else extractor.checksum,
      'version': __version__,
    },
    report=report,
  )
  if jax.process_index() == 0:
    print(evaluation.sweep.table(rows))
    evaluation.sweep.write(out, rows)
    print(f'Wrote {out}.')
    _plot(out.with_suffix('.png'), rows)


def _load_extractor(
  model: vq_jax.Model,
  options: evaluation.EvaluationOptions,
  folder: pathlib.Path,
) -> features.FeatureExtractor | None:
  """Loads the feature network once for all combinations.

  Returns:
    None, if its weights are missing: some metrics need none.
  """
  try:
    return evaluation.classifier.load_extractor(model, options, folder.parent)
  except features.MissingWeights:
    return None


def _plot(path: pathlib.Path, rows: list[evaluation.sweep.Row]) -> None:
  """Writes the plot, or says why there is none."""
  try:
    shown = evaluation.plots.plot(path, rows)
  except packages.MissingPackageError as error:
    print(f'note: {error}')
    return
  if shown:
    print(f'Wrote {path}.')
