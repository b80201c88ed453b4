"""Every option and every flag gives a result or a one-line error.

Values of any kind are given to each. What is accepted must then draw valid
tokens; what is refused must be answered with a line that names the option and
says what it must be.
"""

import argparse
import dataclasses
import functools
import math

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import vq_jax
from tests.evaluation import extractors
from tests.guidance import toys
from vq_jax import samplers
from vq_jax.cli import main as cli
from vq_jax.demo import server
from vq_jax.evaluation import classifier
from vq_jax.guidance import guides
from vq_jax.inference import dream
from vq_jax.inference import edit
from vq_jax.inference import generate
from vq_jax.inference import labels as labels_lib

law = functools.partial(
  hypothesis.settings,
  deadline=None,
  derandomize=True,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)

ORDERS = (
  samplers.orders.Confidence(),
  samplers.orders.Critic(),
  samplers.orders.Halton(),
  samplers.orders.Random(),
)
INSTANCES = (
  *ORDERS,
  samplers.orders.Halton,
  samplers.TokenChoice(temperature=0),
  samplers.TokenChoice(top_k=2, top_p=0.5),
  samplers.Guidance(scale=2),
  samplers.guidance.PowerCosine,
  samplers.guidance.PowerCosine(power=2),
  samplers.guidance.constant,
  samplers.schedules.arccos,
  samplers.schedules.exp,
)
NAMES = (
  *samplers.orders.ORDERS,
  *samplers.schedules.SCHEDULES,
  *samplers.guidance.SCHEDULES,
  *('masked', 'decided', 'float32', 'cap', 'rescale'),
)
NUMPY = (
  np.int8(3), np.uint8(200), np.int64(-1), np.uint64(2**63), np.float16(0.5),
  np.float32(1e-45), np.float32('nan'), np.float64(0.25), np.longdouble(0.5),
  np.True_, np.array(3), np.array([0.5]), np.str_('cap'),
)  # fmt: skip
EXTREMES = (
  0, 1, 2**31, 2**32, 2**63, 10**30, -(10**30), 10**400, -0.0, 5e-324, -5e-324,
  1e-45, 1.2e-38, 1e-300, 1e38, 3.5e38, 1.7e308, 1 + 2**-52, 1 - 2**-53,
  math.nan, math.inf, -math.inf,
)  # fmt: skip
NUMBERS = st.one_of(
  st.integers(0, 8),
  st.floats(0, 1),
  st.floats(0, 1e4),
  st.integers(),
  st.floats(),
  st.sampled_from(EXTREMES),
  st.sampled_from(NUMPY),
)
ANYTHING = st.one_of(
  NUMBERS,
  NUMBERS,
  st.sampled_from(NAMES),
  st.sampled_from(INSTANCES),
  st.sampled_from([None, True, False, b'a', {}, {'a': 1}, [], (), object]),
  st.text(max_size=5),
  st.lists(NUMBERS, max_size=3),
)

MASK, GRID, CODES = 7, (2, 3), 7


def options_strategy(kind: type):
  """A strategy of options of a dataclass, of which few are wrong."""
  fields = [field for field in dataclasses.fields(kind) if field.init]
  good = {
    'schedule': st.sampled_from(
      [*samplers.schedules.SCHEDULES, samplers.schedules.linear]
    ),
    'guidance_schedule': st.sampled_from(list(samplers.guidance.SCHEDULES)),
    'order': st.sampled_from([*samplers.orders.ORDERS, *ORDERS]),
    'rounding': st.sampled_from(['masked', 'decided', 'float32']),
    'remask_limit': st.sampled_from(['cap', 'rescale']),
    'remask_order': st.sampled_from(['random', 'confidence']),
    'sampling': st.just({}),
    'trace': st.booleans(),
    'keep_pixels': st.booleans(),
  }
  required = {
    field.name: st.one_of(good.get(field.name, NUMBERS), ANYTHING)
    for field in fields
    if field.default is dataclasses.MISSING
  }
  some = {
    field.name: st.one_of(good.get(field.name, NUMBERS), ANYTHING)
    for field in fields
    if field.name not in required
  }
  chosen = st.dictionaries(
    st.sampled_from(sorted(some) or ['none']), st.none(), max_size=2
  )
  return chosen.flatmap(
    lambda names: st.fixed_dictionaries(
      required | {name: some[name] for name in names if name in some}
    )
  )


def try_to_make(make, options):
  """Returns `make(**options)`, or None if the options are refused."""
  try:
    return make(**options)
  except ValueError as error:
    said = str(error)
    assert len(said.splitlines()) == 1 and said.endswith('.'), said
    assert any(name.split('_')[-1] in said for name in options), said
    assert 'must ' in said or 'Valid: ' in said or 'leave ' in said, said
    return None


KINDS = (
  samplers.TokenChoice,
  samplers.Guidance,
  samplers.guidance.PowerCosine,
  samplers.MaskGITSampler,
  *map(type, ORDERS),
  samplers.AutoregressiveSampler,
  edit.EditOptions,
)


def logits(tokens):
  """Logits [B, N, K] that depend on the tokens."""
  index = jnp.arange(6 * CODES, dtype=jnp.float32).reshape(1, 6, CODES)
  return 3 * jnp.sin(index + tokens.sum(axis=1)[:, None, None])


def sample_maskgit(sampler, guidance=None):
  """Returns the tokens that a MaskGITSampler samples: int32 [2, 6]."""
  guidance = guidance or samplers.Guidance()
  return samplers.maskgit.decode(
    jax.random.split(jax.random.key(0)),
    guidance.logits_fn(logits),
    jnp.array([[MASK] * 6, [MASK, 1, MASK, 2, MASK, MASK]]),
    sampler,
    mask_id=MASK,
    grid=GRID,
    critic_fn=lambda tokens, progress: jnp.cos(1.0 * tokens),
  )


def sample_in_raster_order(choice, guidance=None):
  """Returns the tokens that a choice samples in raster order: int32 [2, 6]."""
  guidance = guidance or samplers.Guidance()

  def step(cache, previous, position):
    return logits(previous[:, None])[:, 0], cache

  return samplers.autoregressive.decode(
    jax.random.split(jax.random.key(0)),
    guidance.step_fn(step, 6),
    jnp.zeros(()),
    jnp.zeros((2, 6), jnp.int32),
    jnp.zeros((2, 6), bool),
    choice,
  )


def sample_with(option):
  """Samples with an option; returns None for an option that samples nothing."""
  match option:
    case samplers.TokenChoice():
      return sample_in_raster_order(option)
    case samplers.Guidance():
      choice = samplers.TokenChoice()
      return sample_in_raster_order(choice, option)
    case samplers.guidance.PowerCosine():
      guidance = samplers.Guidance(scale=2, schedule=option)
      return sample_maskgit(samplers.MaskGITSampler(steps=2), guidance)
    case samplers.MaskGITSampler():
      if option.steps <= 8:
        return sample_maskgit(option, option.make_guidance())
      return None
    case samplers.AutoregressiveSampler():
      return sample_in_raster_order(
        option.make_choice(), option.make_guidance()
      )
    case samplers.orders.Order():
      return sample_maskgit(samplers.MaskGITSampler(steps=2, order=option))
  return None


@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: kind.__name__)
def test_options_of_samplers(kind):
  """Without compiling: a program for each option would take minutes."""
  counts = {'sampled': 0, 'refused': 0}

  @law(max_examples=8)
  @hypothesis.given(options_strategy(kind))
  def holds(options):
    option = try_to_make(kind, options)
    counts['refused'] += option is None
    if option is None:
      return
    if kind is not edit.EditOptions:
      hash(option)  # it is static under jit
    with jax.disable_jit():
      tokens = sample_with(option)
    if tokens is not None:
      counts['sampled'] += 1
      samplers.require_valid(tokens)
      assert tokens.shape == (2, 6) and tokens.dtype == jnp.int32
      assert 0 <= tokens.min() and tokens.max() < CODES

  holds()
  if dataclasses.fields(kind):
    assert counts['refused']
  assert counts['sampled'] or kind is edit.EditOptions
  # Each operation was compiled by itself; see `forget_programs` in conftest.py.
  jax.clear_caches()


@law(max_examples=300)
@hypothesis.given(ANYTHING)
def test_make_key(rng):
  try:
    key = samplers.make_key(rng)
  except ValueError as error:
    said = str(error)
    assert said.startswith(('key must be ', 'the seed must be '))
    assert len(said.splitlines()) == 1
  else:
    assert type(rng) is not bool and 0 <= rng < 2**32
    assert key.dtype == jax.random.key(0).dtype and key.shape == ()


LABELS = st.one_of(
  ANYTHING,
  st.sampled_from(['a', 'b', 'cé', 'cé', '1']),
  st.lists(st.integers(-1, 3), max_size=4),
  st.lists(st.one_of(st.sampled_from(['a', '1', 'd', '']), ANYTHING)),
  st.lists(st.lists(st.integers(0, 2), max_size=2), max_size=3),
)


@law(max_examples=300)
@hypothesis.given(LABELS)
def test_classes(labels):
  try:
    found = labels_lib.class_indices(labels, 3, ['a', '1', 'cé'])
  except ValueError as error:
    said = str(error)
    assert len(said.splitlines()) == 1
    assert said.startswith(('labels must ', 'no class '))
  else:
    assert found.dtype == np.int32 and found.shape == np.shape(labels)
    assert found.size == 0 or 0 <= found.min() <= found.max() < 3


@law(max_examples=200)
@hypothesis.given(
  st.one_of(st.lists(st.integers(0, 2), min_size=1, max_size=5), LABELS),
  st.one_of(st.floats(0.01, 1), NUMBERS),
  st.one_of(st.integers(1, 9), NUMBERS),
)
def test_rejection(labels, acceptance_rate, batch_size):
  options = {
    'labels': labels,
    'acceptance_rate': acceptance_rate,
    'batch_size': batch_size,
  }
  if isinstance(acceptance_rate, float):  # not thousands of candidates
    hypothesis.assume(not 0 < acceptance_rate < 0.01)
  kept = try_to_make(
    lambda **options: samplers.rejection_sample(
      lambda start, part: part, lambda images, part: part * 1.0, **options
    ),
    options,
  )
  if kept is not None:
    np.testing.assert_array_equal(kept, labels)


def test_candidates_of_a_small_acceptance_rate():
  labels = np.zeros(150, int)
  assert len(samplers.rejection.candidate_labels(labels, 1e-5)) == 15_000_000
  with pytest.raises(ValueError, match='at most 16777216 candidates'):
    samplers.rejection.candidate_labels(np.zeros(200, int), 1e-5)


TEXTS = (
  '0', '2.5', '-1', '99999999999999999999', '1e-320', 'nan', 'inf', '', 'x',
  '2,2,4,4', 'x.png', '.',
)  # fmt: skip
RUNS = {
  'generate': 'generate {maskgit} --num 2',
  'edit': 'edit {maskgit} {image} --box 2,2,4,4',
  'outpaint': 'outpaint {maskgit} {image} --left 2',
  'reconstruct': 'reconstruct {tokenizer} {image}',
  'mixture': 'mixture {vae} --components 1 --num 2',
  'interpolate': 'interpolate {vae} {image} {image} --steps 2',
  'convert': 'convert vit-vqgan {image} --out run',
  'tokenize': 'tokenize {tokenizer} --data {source} --out codes',
  'probe': 'probe {tokenizer} --data {source} --test-split train --shots 1 '
  '--draws 1',
  'evaluate': 'evaluate {maskgit} --features classifier --metrics fid --num 4',
  'dream': 'dream {tokenizer} --guide classifier-text --prompt a --steps 1',
  'info': 'info {tokenizer}',
  'export': 'export {tokenizer} --out run',
  'samples': 'samples {tokenizer}',
  'demo': 'demo {maskgit}',
  'download': 'download --list',
  'configs': 'configs',
}


def commands() -> dict[str, argparse.ArgumentParser]:
  """Returns the parsers of all commands."""
  (subparsers,) = (
    action
    for action in cli.parser()._actions
    if isinstance(action, argparse._SubParsersAction)
  )
  return subparsers.choices


# The flags of the samplers are declared once, for all commands.
SAMPLER_FLAGS = {
  f'--{field.name.replace("_", "-")}'
  for field in dataclasses.fields(samplers.MaskGITSampler)
}
FLAGS = [
  (name, action.option_strings[-1])
  for name, parser in commands().items()
  for action in parser._actions
  if action.option_strings
  and action.nargs != 0
  and (name == 'generate' or action.option_strings[-1] not in SAMPLER_FLAGS)
]
POSITIONS = [
  (name, position)
  for name, parser in commands().items()
  for position, action in enumerate(
    [action for action in parser._actions if not action.option_strings]
  )
  if action.nargs != '?'
]


def test_every_command_has_a_run_of_its_own():
  assert set(commands()) == set(RUNS)


@pytest.fixture(scope='module')
def paths(tokenizer, maskgit, vae_run, source, tmp_path_factory):
  image = tmp_path_factory.mktemp('image') / 'image.png'
  pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
  Image.fromarray(pixels).save(image)
  return {
    'tokenizer': tokenizer, 'maskgit': maskgit, 'vae': vae_run,
    'source': source, 'image': str(image),
  }  # fmt: skip


@pytest.fixture(scope='module')
def loaded(paths):
  names = ('tokenizer', 'maskgit', 'vae')
  return {paths[name]: vq_jax.load(paths[name]) for name in names}


@pytest.fixture
def here(loaded, tmp_path, monkeypatch):
  """An empty folder, loaded runs, and methods that compute nothing."""
  load = vq_jax.load
  monkeypatch.setattr(vq_jax, 'load', lambda f: loaded.get(f) or load(f))
  monkeypatch.chdir(tmp_path)

  def sample_tokens(sampler, keys, prior, variables, tokens, known, *rest, **k):
    if not prior.causal:
      assert sampler.masked_counts(9).min() == 0
    if sampler.guidance:
      sampler.make_guidance().rows(rest[0], prior.vocab.null_label)
    return jnp.stack([tokens] * 2, axis=1) if k['trace'] else tokens

  def advance(dream, state, step):
    return state.replace(step=state.step + 1), {'prompts': jnp.zeros((1, 1, 1))}

  # The effect of the options is tested above, and in tests/guidance.
  monkeypatch.setattr(generate, 'sample_tokens', sample_tokens)
  monkeypatch.setattr(dream.Dream, 'advance', advance)
  extractor = extractors.random_projection()
  monkeypatch.setattr(classifier, 'of_run', lambda *_: extractor)
  monkeypatch.setattr(server, 'serve', refuse_to_serve)
  monkeypatch.setattr(guides, 'load_guide', lambda name: toys.make_guide())
  return tmp_path


def refuse_to_serve(*_, **__):
  raise OSError('the page is not served here; tests/demo does that')


def check_answer(argv, capsys) -> int:
  """Checks that a command succeeds, or answers with one line."""
  try:
    code = cli.main(argv)
  except SystemExit as stop:
    said = capsys.readouterr().err.splitlines()
    assert stop.code == 2 and said[-1].startswith(f'vqjax {argv[0]}: error: ')
    return 2
  said = capsys.readouterr().err
  errors = [x for x in said.splitlines() if x.startswith('error: ')]
  assert 'Traceback' not in said
  assert (code, len(errors)) in [(0, 0), (1, 1)], (argv, said)
  return code


@pytest.mark.parametrize(('command', 'flag'), FLAGS)
def test_flags(command, flag, paths, here, capsys):
  base = [arg.format(**paths) for arg in RUNS[command].split()]
  codes = [check_answer([*base, f'{flag}={text}'], capsys) for text in TEXTS]
  assert 1 in codes or 2 in codes or flag in ('--data-dir', '--license')


@pytest.mark.parametrize(('command', 'position'), POSITIONS)
def test_positions(command, position, paths, here, capsys):
  base = [arg.format(**paths) for arg in RUNS[command].split()]
  for text in TEXTS:
    if not text.startswith('-'):
      argv = base[: position + 1] + [text] + base[position + 2 :]
      assert check_answer(argv, capsys) != 0, text
