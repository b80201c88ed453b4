"""Released priors: our outputs equal theirs."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

import vq_jax
from tests.convert import prior_references
from tests.convert import references
from tests.convert import writing
from tests.convert.released import GOLDEN
from tests.convert.released import write
from vq_jax import convert
from vq_jax import samplers
from vq_jax.runs import export as export_lib
from vq_jax.samplers import orders

TOKENIZER = GOLDEN / 'maskgit_tokenizer_toy.msgpack'
TRANSFORMER = GOLDEN / 'maskgit_transformer_toy.msgpack'
VECTORS = dict(np.load(GOLDEN / 'maskgit_transformer_toy.npz'))
GREEDY = {'temperature': 0, 'choice_temperature': 0}


def with_options(model, **options):
  return samplers.with_options(model.info.sampler, options)


@pytest.fixture(scope='module')
def maskgit():
  return convert.load('maskgit', tokenizer=TOKENIZER, transformer=TRANSFORMER)


def random(reference, *args, seed=0):
  """Returns random weights of a reference, and its logits for some input."""
  shapes = references.Shapes()
  jax.eval_shape(lambda *a: reference(shapes, *a), *args)
  w = references.RandomWeights(seed)
  for name, shape in shapes.items():
    w(name, *shape)
  return dict(w), jax.jit(lambda *a: reference(w, *a))(*args)


def get_logits(model, tokens, labels):
  return jax.jit(model.prior.apply)(
    model.variables['prior'], tokens, label=labels
  )


def test_logits_equal_the_published_ones(maskgit):
  masked = np.where(VECTORS['mask'], maskgit.vocab.mask_id, VECTORS['indices'])
  np.testing.assert_allclose(
    get_logits(maskgit, masked, VECTORS['labels']),
    VECTORS['logits'],
    rtol=0,
    atol=1e-5,
  )


@pytest.mark.parametrize('steps', [1, 4, 8])
def test_greedy_images_are_those_of_the_published_tokens(maskgit, steps):
  sampler = with_options(maskgit, steps=steps, **GREEDY)
  result = maskgit.generate(0, labels=VECTORS['labels'], sampler=sampler)
  tokens = VECTORS[f'greedy_{steps}'][:, -1].reshape(-1, 6, 6)
  np.testing.assert_array_equal(result, maskgit.decode(tokens))


def test_partly_masked_tokens_end_as_the_published_ones(maskgit):
  sampler = samplers.MaskGITSampler(
    steps=6,
    order=orders.Confidence(temperature=0),
    temperature=0,
    rounding='float32',
  )
  found = samplers.maskgit.decode(
    samplers.example_keys(jax.random.key(0), np.arange(3)),
    lambda tokens, _: get_logits(maskgit, tokens, VECTORS['labels']),
    jnp.where(VECTORS['mask'], maskgit.vocab.mask_id, VECTORS['indices']),
    sampler,
    mask_id=maskgit.vocab.mask_id,
  )
  np.testing.assert_array_equal(found, VECTORS['partial_6'][:, -1])


@pytest.mark.parametrize(
  ('reference', 'side'),
  [
    (prior_references.MaskGIT(1, 8, 1, 12, 40, 3), 4),
    (prior_references.MaskGIT(2, 12, 4, 20, 40, 0), 3),
    (prior_references.MaskGIT(4, 16, 2, 16, 40, 1), 2),
  ],
)
def test_other_sizes(tmp_path, reference, side):
  rng = np.random.default_rng(1)
  tokens = rng.integers(-1, reference.codes, (2, side * side))
  labels = rng.integers(0, max(reference.classes, 1), 2)
  weights, logits = random(reference, tokens, labels)
  write(tmp_path / 'transformer', 'maskgit-tokenizer', weights)
  codes = references.MaskGIT(32, (1, 2), 1, 6, 40)
  weights, _ = references.make(codes, np.zeros((1, 8, 8, 3), np.float32))
  write(tmp_path / 'tokenizer', 'maskgit-tokenizer', weights)
  model = convert.load(
    'maskgit',
    tokenizer=tmp_path / 'tokenizer',
    transformer=tmp_path / 'transformer',
  )
  assert model.run_config['dataset']['image_shape'] == [2 * side, 2 * side, 3]
  found = get_logits(
    model,
    np.where(tokens < 0, model.vocab.mask_id, tokens),
    labels if reference.classes else None,
  )
  np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5)


def test_every_leaf_of_the_published_size_is_accounted_for():
  """393 leaves of 24 layers, of which ours stack: 16 in blocks, 10 others."""
  shapes = references.Shapes()
  for length, count in ((256, 172_457_193), (1024, 173_047_017)):
    shapes.clear()
    tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)
    jax.eval_shape(
      lambda *args: prior_references.MaskGIT()(shapes, *args),
      tokens,
      jax.ShapeDtypeStruct((1,), jnp.int32),
    )
    assert len(shapes) == 393
    assert sum(np.prod(s) for s in shapes.values()) == count


def test_there_is_no_guidance_without_a_null_class(maskgit):
  with pytest.raises(ValueError, match='without a null class'):
    sampler = with_options(maskgit, guidance=1.0)
    maskgit.generate(0, labels=[1], sampler=sampler)


@pytest.mark.parametrize('order', ['confidence', 'halton', 'random'])
def test_a_trained_run_is_sampled_in_every_order(maskgit, tmp_path, order):
  export_lib.export(maskgit, tmp_path / 'run')
  again = vq_jax.load(tmp_path / 'run')
  sampler = with_options(maskgit, order=order, steps=3)
  options = {'labels': [1, 2], 'sampler': sampler}
  np.testing.assert_array_equal(
    again.generate(0, **options), maskgit.generate(0, **options)
  )


def test_a_critic_is_no_run_of_a_prior(maskgit, tmp_path):
  critic = dataclasses.replace(maskgit, critic=maskgit.prior)
  with pytest.raises(ValueError, match='give the run of its generator'):
    export_lib.export(critic, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_two_files_that_do_not_belong_together(tmp_path):
  said = refusal(tokenizer=TOKENIZER, transformer=TOKENIZER)
  assert 'toy.msgpack is no transformer of a maskgit: it has no Embed_0' in said
  reference = prior_references.MaskGIT(1, 8, 1, 12, 20, 3)
  args = np.zeros((1, 4), int), np.zeros(1, int)
  weights, _ = random(reference, *args)
  write(tmp_path / 'a', 'maskgit-tokenizer', weights)
  said = refusal(tokenizer=TOKENIZER, transformer=tmp_path / 'a')
  assert 'embeds 24 ids, too few for a mask and the 64 codes' in said
  reference = prior_references.MaskGIT(1, 8, 1, 12, 64, 3)
  weights, _ = random(reference, np.zeros((1, 5), int), np.zeros(1, int))
  write(tmp_path / 'b', 'maskgit-tokenizer', weights)
  said = refusal(tokenizer=TOKENIZER, transformer=tmp_path / 'b')
  assert '5 tokens are not a square grid' in said
  weights.pop('MlmLayer_0/mlm_ln/bias')
  weights['extra/bias'] = np.zeros(3, np.float32)
  positions = 'Embed_0/position_embeddings/embedding'
  weights[positions] = weights[positions][:5]
  write(tmp_path / 'c', 'maskgit-tokenizer', weights)
  said = refusal(tokenizer=TOKENIZER, transformer=tmp_path / 'c')
  assert '? extra/bias: no rule knows' in said
  assert '- params/norm_out/norm/bias' in said


def refusal(kind='maskgit', path=None, **files):
  with pytest.raises(convert.ConvertError) as error:
    convert.load(kind, path, **files)
  return str(error.value)


def test_a_wrong_number_of_files_is_refused():
  two = 'a maskgit is released as two files; give tokenizer and transformer'
  assert two in refusal(path=TOKENIZER)
  assert two in refusal(tokenizer=TOKENIZER)
  assert two in refusal(
    path=TOKENIZER, tokenizer=TOKENIZER, transformer=TRANSFORMER
  )
  one = 'a maskgit-tokenizer is released as one file'
  assert one in refusal('maskgit-tokenizer', tokenizer=TOKENIZER)
  assert one in refusal('maskgit-tokenizer')
  assert one in refusal('maskgit-tokenizer', TOKENIZER, transformer=TOKENIZER)


VQGAN = references.Taming(
  ch=32, ch_mult=(1, 2), num_res_blocks=1, attention=(1,), z_channels=24,
  embed_dim=6, n_embed=40,
)  # fmt: skip


def taming_config(**condition):
  """A released config of a GPT on VQGAN, for images of 8 x 8 pixels."""
  ddconfig = {
    'double_z': False, 'z_channels': 24, 'resolution': 8, 'in_channels': 3,
    'out_ch': 3, 'ch': 32, 'ch_mult': [1, 2], 'num_res_blocks': 1,
    'attn_resolutions': [4], 'dropout': 0.0,
  }  # fmt: skip
  return {
    'model': {
      'target': 'taming.models.cond_transformer.Net2NetTransformer',
      'params': {
        'transformer_config': {
          'target': 'taming.modules.transformer.mingpt.GPT',
          'params': {'vocab_size': 45, 'block_size': 20, 'n_head': 3},
        },
        'first_stage_config': {
          'params': {'embed_dim': 6, 'n_embed': 40, 'ddconfig': ddconfig}
        },
        **condition,
      },
    }
  }


CLASSES = {
  'cond_stage_config': {
    'target': 'taming.modules.util.Labelator',
    'params': {'n_classes': 4},
  }
}


def write_gpt(folder, tokens, front, config):
  """Writes both files; returns the logits."""
  weights, logits = random(
    prior_references.TamingGPT(2, 12, 3, 45, 20), tokens, front
  )
  inner, _ = references.make(VQGAN, np.zeros((1, 8, 8, 3), np.float32))
  weights |= {f'first_stage_model.{name}': x for name, x in inner.items()}
  writing.save(folder / 'gpt.ckpt', {'state_dict': weights})
  (folder / 'gpt.yaml').write_text(yaml.safe_dump(config))
  return logits[..., :40]


@pytest.mark.parametrize(
  ('condition', 'front'),
  [
    (CLASSES, [1, 3]),
    ({'cond_stage_config': '__is_unconditional__'}, [0, 0]),
    ({'unconditional': True, 'sos_token': 7}, [7, 7]),
  ],
)
def test_gpts_of_taming_transformers(tmp_path, condition, front):
  tokens = np.random.default_rng(1).integers(0, 40, (2, 16))
  config = taming_config(**condition)
  logits = write_gpt(tmp_path, tokens, np.array(front), config)
  model = convert.load(
    'taming-transformer', tmp_path / 'gpt.ckpt', yaml=tmp_path / 'gpt.yaml'
  )
  labels = np.array(front) if condition is CLASSES else None
  assert model.vocab.num_classes == (4 if condition is CLASSES else 0)
  found = get_logits(model, tokens, labels)
  np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5)
  export_lib.export(model, tmp_path / 'run')
  again = vq_jax.load(tmp_path / 'run')
  result = again.generate(0, num=2, sampler=with_options(again, temperature=0))
  assert result.shape == (2, 8, 8, 3)
  ours, config = convert.export(model, tmp_path / 'back', 'taming')
  back = convert.load('taming-transformer', ours, yaml=config)
  assert back.vocab == model.vocab
  jax.tree.map(np.testing.assert_array_equal, back.variables, model.variables)


def test_the_config_of_a_gpt_must_have_its_fields(tmp_path):
  file, config = tmp_path / 'gpt.ckpt', tmp_path / 'gpt.yaml'
  write_gpt(tmp_path, np.zeros((1, 16), int), np.zeros(1, int), {})
  kind = 'taming-transformer'
  assert 'number of heads; give the YAML' in refusal(kind, file)
  depth = {'cond_stage_config': {'target': 'taming.models.vqgan.VQModel'}}
  many = {**CLASSES['cond_stage_config'], 'params': {'n_classes': 46}}
  five = taming_config(**CLASSES)
  five['model']['params']['transformer_config']['params']['n_head'] = 5
  for content, message in (
    (taming_config(**depth), 'conditioned by taming.models.vqgan.VQModel'),
    (taming_config(cond_stage_config=many), 'has 46 classes'),
    (taming_config(), 'is no config of a GPT'),
    (five, 'width of the GPT: 12 is no multiple of 5'),
  ):
    config.write_text(yaml.safe_dump(content))
    assert message in refusal(kind, file, yaml=config)


def write_halton(folder, reference, tokens, labels, wrapper=''):
  """Writes both files; returns the logits of the codes."""
  weights, logits = random(reference, tokens, labels)
  weights['head.weight'] = weights['tok_emb.weight']
  weights = {f'{wrapper}{name}': x for name, x in weights.items()}
  writing.save(folder / 'halton.pth', {'iter': 3, 'model_state_dict': weights})
  codes = references.Taming(32, (1, 1), 1, (1,), 8, 3, 40, llamagen=True)
  inner, _ = references.make(codes, np.zeros((1, 8, 8, 3), np.float32))
  write(folder / 'vq.pt', 'llamagen-vq', inner)
  return logits[..., :40]


@pytest.mark.parametrize(
  ('reference', 'wrapper'),
  [
    (prior_references.Halton(2, 12, 2, 6, 20, 40, 3), ''),
    (prior_references.Halton(1, 16, 3, 5, 8, 40, 1, registers=2), 'module.'),
    (prior_references.Halton(1, 8, 1, 8, 8, 40, 5, registers=0), '_orig_mod.'),
  ],
)
def test_transformers_of_halton_maskgit(tmp_path, reference, wrapper):
  tokens = np.random.default_rng(1).integers(0, 41, (2, 16))
  labels = np.array([0, reference.classes])  # the last is no class
  logits = write_halton(tmp_path, reference, tokens, labels, wrapper)
  with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter('always')
    model = convert.load(
      'halton-maskgit',
      tokenizer=tmp_path / 'vq.pt',
      transformer=tmp_path / 'halton.pth',
      heads=reference.heads,
    )
  notices = [wrapper.rstrip('.') in str(w.message) for w in told]
  assert notices == [True] * bool(wrapper)
  assert model.vocab.num_classes == reference.classes
  assert model.vocab.null_label == reference.classes
  tokens = np.where(tokens == 40, model.vocab.mask_id, tokens)
  found = get_logits(model, tokens, labels)
  np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5)
  export_lib.export(model, tmp_path / 'run')
  again = vq_jax.load(tmp_path / 'run')
  result = again.generate(0, num=2, sampler=with_options(again, steps=2))
  assert result.shape == (2, 8, 8, 3)


def test_what_a_halton_maskgit_must_be(tmp_path):
  reference = prior_references.Halton(1, 8, 1, 8, 8, 41, 2)
  files = {
    'tokenizer': tmp_path / 'vq.pt',
    'transformer': tmp_path / 'halton.pth',
  }
  args = np.zeros((1, 16), int), np.zeros(1, int)
  write_halton(tmp_path, reference, *args)
  kind = 'halton-maskgit'
  assert 'size is 41 and that of the tokenizer 40' in refusal(kind, **files)
  reference = dataclasses.replace(reference, codes=40)
  write_halton(tmp_path, reference, *args)
  assert '1 layers of width 8; give heads' in refusal(kind, **files)
  assert 'width of the attention: 8 is no multiple of 3' in refusal(
    kind, **files, heads=3
  )
  assert 'only a halton-maskgit needs heads' in refusal(
    tokenizer=TOKENIZER, transformer=TRANSFORMER, heads=4
  )
  weights, _ = random(reference, *args)
  weights['in_proj.weight'] = np.zeros((8, 8, 2, 2), np.float32)
  writing.save(files['transformer'], {'model': weights})
  assert 'merges four tokens into one' in refusal(kind, **files)
  del weights['in_proj.weight'], weights['cls_emb.weight']
  writing.save(files['transformer'], weights)
  assert 'has no cls_emb.weight' in refusal(kind, **files)
