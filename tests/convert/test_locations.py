"""The weights of a model are found under any key or prefix of a checkpoint."""

import numpy as np
import pytest

import vq_jax
from tests.convert import writing
from tests.convert.released import GOLDEN
from tests.convert.released import make_weights
from vq_jax import convert
from vq_jax.convert import halton_maskgit
from vq_jax.convert import loading
from vq_jax.convert import taming_transformer
from vq_jax.utils import trees
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import locations
from vq_jax.utils.conversion import pickles

TORCH = {
  'taming-vqgan': loading.AUTOENCODERS['taming-vqgan'],
  'llamagen-vq': loading.AUTOENCODERS['llamagen-vq'],
  'vit-vqgan': loading.AUTOENCODERS['vit-vqgan'],
  'halton-maskgit': halton_maskgit,
  'taming-transformer': taming_transformer,
}
one = np.ones(2, np.float32)


def found(path, tree, source, **options):
  """Returns the names that are found with their first numbers, and a notice."""
  writing.save(path, tree)
  with pickles.reading(path) as read:
    result = locations.find(
      read,
      **{'landmark': source.LANDMARK, 'usual': source.USUAL, **options},
    )
    first = {n: float(x.numpy()[0]) for n, x in result.tree.items()}
  return first, result.notice


def state(source, value=1.0, prefix=''):
  names = source.LANDMARK, 'some.other.bias'
  return {f'{prefix}{name}': value * one for name in names}


@pytest.mark.parametrize('kind', TORCH)
@pytest.mark.parametrize(
  ('key', 'prefix', 'notice'),
  [
    ('model', 'module.', "'model/module.'"),
    ('weights', '', "'weights'"),
    (None, 'model.', "'model.'"),
    (None, 'vqgan.', "'vqgan.'"),
    ('state_dict', 'module.model.', "'state_dict/module.model.'"),
    ('state_dict', '_orig_mod.', '_orig_mod'),
    (None, 'module._orig_mod.', "'module.'; names were freed of _orig_mod"),
    (None, '_orig_mod.module.', "'module.'; names were freed of _orig_mod"),
    ('net', '_fsdp_wrapped_module.net.', "'net/net.'"),
  ],
)
def test_keys_and_prefixes_that_all_names_share(
  kind, key, prefix, notice, tmp_path
):
  source = TORCH[kind]
  tree = state(source, prefix=prefix)
  tree = {'epoch': 3, key: tree} if key else tree
  names, told = found(tmp_path / 'a.pt', tree, source)
  assert names == dict.fromkeys(state(source), 1.0)
  assert notice in told and '\n' not in told


@pytest.mark.parametrize('kind', TORCH)
def test_no_warning_for_files_as_released(kind, tmp_path):
  source = TORCH[kind]
  for usual in source.USUAL:
    tree = {usual: state(source)} if usual else state(source)
    names, told = found(tmp_path / 'a.pt', {**tree, 'epoch': 3}, source)
    assert names.keys() == state(source).keys() and told is None


@pytest.mark.parametrize(
  ('taken', 'other'),
  [
    ('ema', 'model'),
    ('model_ema', 'model'),
    ('ema_state_dict', 'state_dict'),
    ('params_ema', 'params'),
    ('state_dict', 'model'),
    ('model', 'something'),
  ],
)
def test_averaged_weights_are_preferred_among_several_keys(
  taken, other, tmp_path
):
  source = TORCH['taming-vqgan']
  for keys in ((taken, other), (other, taken)):
    values = {taken: 2.0, other: 3.0}
    tree = {key: state(source, values[key]) for key in keys}
    names, told = found(tmp_path / 'a.pt', tree, source)
    assert set(names.values()) == {2.0}
    assert f"at '{taken}'; those at '{other}' were not taken" in told
    flat = {}
    for key in keys:
      flat |= state(source, values[key], f'{key}.')
    names, told = found(tmp_path / 'a.pt', flat, source)
    assert set(names.values()) == {2.0} and len(names) == 2
    assert f"at '{taken}.'; those at '{other}.' were not taken; 2 other" in told


def test_dicts_in_dicts(tmp_path):
  source = TORCH['taming-vqgan']
  tree = {'ema': {'shadow': state(source, 2.0)}, 'trainer': {'model': {}}}
  names, told = found(tmp_path / 'a.pt', tree, source)
  assert set(names.values()) == {2.0} and "'ema/shadow'" in told


def test_two_equally_good_locations_are_an_error(tmp_path):
  source = TORCH['taming-vqgan']
  tree = {'first': state(source), 'second': state(source)}
  with pytest.raises(
    errors.ConvertError, match="2 times, at 'first', 'second'"
  ):
    found(tmp_path / 'a.pt', tree, source)
  tree = {**state(source), **state(source, 2.0, '_orig_mod.')}
  with pytest.raises(errors.ConvertError, match='one name without _orig_mod'):
    found(tmp_path / 'a.pt', tree, source)


def test_the_first_stage_of_a_latent_diffusion_model(tmp_path):
  source = TORCH['taming-vqgan']
  tree = {
    **state(source, 2.0, 'first_stage_model.'),
    'model.diffusion_model.out.0.weight': one,
    'model_ema.decay': one,
  }
  names, told = found(tmp_path / 'a.pt', {'state_dict': tree}, source)
  assert names == dict.fromkeys(state(source), 2.0)
  assert '2 other arrays, such as model.diffusion_model.out' in told


def test_a_name_that_ends_like_the_landmark_is_no_prefix(tmp_path):
  source = TORCH['taming-vqgan']
  tree = {f'x{source.LANDMARK}': one}
  names, told = found(tmp_path / 'a.pt', tree, source)
  assert names == {f'x{source.LANDMARK}': 1.0} and told is None


def test_dicts_that_hold_themselves_end():
  tree = {}
  tree['a'] = {'b': tree}
  assert locations.find(tree, 'x', ('',)) == locations.Found(tree=tree)
  tree = {}
  for _ in range(40):  # 2**40 paths
    tree = {'a': tree, 'b': tree}
  assert locations.find(tree, 'x', ('',)).notice is None


def test_trees_of_flax():
  source = loading.AUTOENCODERS['maskgit-tokenizer']
  weights = trees.unflatten(make_weights('maskgit-tokenizer'))
  statistics = {'opt_state': {'0': {'mu': {'params': weights}}}}
  for tree, told in (
    ({'params': weights}, None),
    ({'params': weights, **statistics}, None),
    ({'ema_params': weights, 'params': {**weights}}, "'ema_params'; those at"),
    ({'optimizer': {'target': {'params': weights}}}, 'optimizer/target/params'),
    (weights, 'the top'),
  ):
    result = locations.find(tree, source.LANDMARK, source.USUAL)
    assert result.tree['params'] is weights or told == 'the top'
    assert source.state(result.tree).keys() == trees.flatten(weights).keys()
    assert told in result.notice if told else result.notice is None


def test_a_wrapped_checkpoint_is_the_same_model(tmp_path):
  path = GOLDEN / 'taming_vqgan_toy.ckpt'
  want = vq_jax.convert.load('taming-vqgan', path)
  with pickles.reading(path) as tree:
    weights = {n: np.array(x.numpy()) for n, x in tree['state_dict'].items()}
  wrapped = {f'module._orig_mod.{n}': x for n, x in weights.items()}
  writing.save(tmp_path / 'a.pt', {'net': wrapped})
  with pytest.warns(convert.ConvertWarning, match="a.pt: .*'net/module.'"):
    same = convert.load('taming-vqgan', tmp_path / 'a.pt')
  assert same.run_config == want.run_config
  theirs = trees.flatten(dict(want.variables))
  for name, array in trees.flatten(dict(same.variables)).items():
    np.testing.assert_array_equal(array, theirs[name])
