"""Laws of VQGAN's backbones; their numbers are held against released ones in
tests/convert.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax.utils import trees

TOY = {'channels': 8, 'multipliers': (1, 2), 'groups': 4}
QUANTIZER = quantizers.VectorQuantizer(codebook_size=8, code_dim=4)


def taming(**fields):
  fields = {**TOY, 'blocks': 1, 'attention_strides': (2,), **fields}
  return autoencoders.vqgan_taming(QUANTIZER, z_channels=6, **fields)


def maskgit(**fields):
  return autoencoders.maskgit_tokenizer(QUANTIZER, **TOY, blocks=1, **fields)


each = pytest.mark.parametrize('make', [taming, maskgit])


def images(*shape):
  return np.random.default_rng(0).random(shape).astype(np.float32)


@functools.partial(jax.jit, static_argnames=('model', 'method'))
def call(model, variables, x, method='__call__'):
  return model.apply(variables, x, method=method)


@each
def test_round_trip_on_any_grid(make):
  model = make(image_channels=2)
  image = images(2, 6, 10, 2)
  variables = random_variables(model, image)
  quantized = call(model, variables, image, 'encode')
  assert quantized.indices.shape == (2, 3, 5)
  decoded = call(model, variables, quantized.indices, 'decode_indices')
  assert decoded.shape == image.shape and decoded.dtype == jnp.float32
  np.testing.assert_allclose(
    call(model, variables, image)[0], decoded, atol=1e-5
  )


@each
def test_remat_changes_neither_names_nor_gradients(make):
  image = images(1, 4, 4, 3)
  variables = random_variables(make(), image)

  @functools.partial(jax.jit, static_argnames='model')
  def gradient(model, variables):
    def loss(variables):
      decoded, quantized = model.apply(variables, image, train=True)
      return jnp.square(decoded - image).mean() + quantized.loss

    return jax.grad(loss)(variables)

  want = gradient(make(), variables)
  got = gradient(make(remat=True), variables)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want
  )
  moved = jax.tree.map(lambda g: bool(np.abs(g).max() > 0), want)
  still = [name for name, m in trees.flatten(moved).items() if not m]
  # Softmax does not see what all keys have in common.
  assert all(name.endswith('attention/key/bias') for name in still), still


def shapes(backbone, x):
  tree = jax.eval_shape(backbone.init, jax.random.key(0), x)['params']
  return {name: leaf.shape for name, leaf in trees.flatten(tree).items()}


@pytest.mark.parametrize('stride', [1, 2, 4])
def test_attention_follows_every_block_of_its_level(stride):
  fields = {
    'channels': 4, 'multipliers': (1, 2, 3), 'groups': 2, 'blocks': 2,
    'attention_strides': (stride,), 'middle_attention': False,
  }  # fmt: skip
  level = {1: 0, 2: 1, 4: 2}[stride]
  for backbone, x in (
    (autoencoders.ResNetEncoder(**fields), images(1, 8, 8, 3)),
    (autoencoders.ResNetDecoder(**fields), images(1, 2, 2, 5)),
  ):
    assert backbone.stride == 4
    found = {
      name.split('/')[0]: shape
      for name, shape in shapes(backbone, x).items()
      if name.endswith('query/kernel')
    }
    width = 4 * (level + 1)
    assert found == {
      f'level_{level}_attention_{j}': (width, 1, width) for j in range(2)
    }


@pytest.mark.parametrize('middle_blocks', [1, 3])
@pytest.mark.parametrize('attention', [True, False])
def test_the_middle_has_its_own_blocks(middle_blocks, attention):
  fields = {
    **TOY, 'blocks': 1, 'attention_strides': (),
    'middle_blocks': middle_blocks, 'middle_attention': attention,
  }  # fmt: skip
  for backbone in (autoencoders.ResNetEncoder, autoencoders.ResNetDecoder):
    names = {
      n.split('/')[0] for n in shapes(backbone(**fields), images(1, 4, 4, 3))
    }
    blocks = {name for name in names if name.startswith('middle_block')}
    assert blocks == {f'middle_block_{j}' for j in range(middle_blocks)}
    assert ('middle_attention' in names) == attention


def test_the_first_and_last_layers_of_the_backbones():
  image = images(1, 4, 4, 3)
  for width in (None, 5):
    encoder = autoencoders.ResNetEncoder(
      **TOY, attention_strides=(), out_channels=width
    )
    features = jax.eval_shape(
      encoder.init_with_output, jax.random.key(0), image
    )[0]
    assert features.shape == (1, 2, 2, width or 16)
    decoder = autoencoders.ResNetDecoder(
      **TOY, attention_strides=(), in_channels=width
    )
    kernel = shapes(decoder, images(1, 2, 2, 7))['conv_in/kernel']
    assert kernel == (3, 3, width or 7, 16)


@pytest.mark.parametrize('epsilon', [1e-6, 1.0])
def test_epsilon_reaches_the_norms(epsilon):
  """With a large one the features of a nearly black image stay near zero."""
  backbone = autoencoders.ResNetEncoder(
    **TOY, blocks=1, attention_strides=(), out_channels=None, epsilon=epsilon
  )
  image = 1e-3 * images(1, 4, 4, 3)
  variables = random_variables(backbone, image)
  variables = jax.tree_util.tree_map_with_path(
    lambda path, v: jnp.zeros_like(v) if path[-1].key == 'bias' else v,
    variables,
  )
  size = np.abs(jax.jit(backbone.apply)(variables, image)).max()
  assert (size > 0.1) == (epsilon == 1e-6)


def test_bfloat16_stays_near_float32():
  image = images(1, 8, 8, 3)
  backbones = [
    autoencoders.ResNetEncoder(
      **TOY, blocks=1, attention_strides=(2,), dtype=dtype
    )
    for dtype in (jnp.float32, jnp.bfloat16)
  ]
  variables = random_variables(backbones[0], image)
  exact, coarse = (
    jax.jit(backbone.apply)(variables, image) for backbone in backbones
  )
  assert coarse.dtype == jnp.bfloat16
  error = np.abs(exact - coarse.astype(jnp.float32)).mean()
  assert 0 < error < 0.1 * np.abs(exact).mean()


@pytest.mark.parametrize(
  'backbone', [autoencoders.ResNetEncoder, autoencoders.ResNetDecoder]
)
def test_attention_needs_a_level(backbone):
  with pytest.raises(ValueError, match=r'levels, \[1, 2\]; got \(16,\)'):
    backbone(**TOY).init(jax.random.key(0), images(1, 4, 4, 3))
