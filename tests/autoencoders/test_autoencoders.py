"""Laws of autoencoders: any two backbones around any quantizer."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax.autoencoders import conv_backbone

K, D = 8, 4
CONV = {'channels': 8, 'residual_channels': 4, 'residual_blocks': 1}
PATCH = {'channels': 8, 'inner_channels': 4, 'blocks': 1}


def conv(stride, channels=3, dtype=jnp.float32):
  steps = int(np.log2(stride))
  return (
    autoencoders.ConvEncoder(downsamples=steps, dtype=dtype, **CONV),
    autoencoders.ConvDecoder(
      out_channels=channels, upsamples=steps, dtype=dtype, **CONV
    ),
  )


def patch(stride, channels=3, dtype=jnp.float32, overlap=2):
  size = {'patch': overlap * stride, 'patch_stride': stride, 'dtype': dtype}
  return (
    autoencoders.PatchEncoder(**size, **PATCH),
    autoencoders.PatchDecoder(out_channels=channels, **size, **PATCH),
  )


def make(backbones, quantizer=quantizers.VectorQuantizer, **fields):
  encoder, decoder = backbones
  return autoencoders.VQVAE(
    encoder=encoder,
    quantizer=quantizer(codebook_size=K, code_dim=D),
    decoder=decoder,
    **fields,
  )


def images(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, shape).astype(np.uint8)


@functools.partial(jax.jit, static_argnames=('model', 'method'))
def call(model, variables, x, method='__call__'):
  return model.apply(variables, x, method=method)


each_quantizer = pytest.mark.parametrize(
  'quantizer', [quantizers.VectorQuantizer, quantizers.EMAVectorQuantizer]
)
each_backbone = pytest.mark.parametrize('backbones', [conv, patch])


@each_quantizer
@each_backbone
@pytest.mark.parametrize(
  ('stride', 'size', 'channels'), [(2, (6, 10), 1), (8, (8, 16), 3)]
)
def test_round_trip_on_any_grid(backbones, quantizer, stride, size, channels):
  """Any quantizer fits any backbone; images need be neither square nor RGB."""
  model = make(backbones(stride, channels), quantizer)
  assert (model.stride, model.token_grids[0].codebook_size) == (stride, K)
  image = images(2, *size, channels)
  variables = random_variables(model, image)
  quantized = call(model, variables, image, 'encode')
  grid = tuple(side // stride for side in size)
  assert quantized.indices.shape == (2, *grid)
  decoded = call(model, variables, quantized.quantized, 'decode')
  assert decoded.shape == image.shape
  assert decoded.dtype == jnp.float32
  np.testing.assert_array_equal(
    call(model, variables, quantized.indices, 'decode_indices'), decoded
  )
  both, again = call(model, variables, image)
  np.testing.assert_array_equal(again.indices, quantized.indices)
  np.testing.assert_allclose(both, decoded, atol=1e-5)


def test_patches_without_overlap_see_only_themselves():
  """With patch = stride and no blocks, a pixel moves the code of its patch."""
  encoder, decoder = patch(4, overlap=1)
  model = make((encoder.clone(blocks=0), decoder.clone(blocks=0)))
  image = images(1, 12, 12, 3)
  variables = random_variables(model, image)
  other = image.copy()
  other[0, 4:8, 4:8] = 255 - other[0, 4:8, 4:8]
  features = [
    model.encoder.apply(
      {'params': variables['params']['encoder']}, x.astype(np.float32) / 255
    )
    for x in (image, other)
  ]
  moved = np.abs(features[0] - features[1]).max(axis=-1)[0] > 1e-6
  want = np.zeros((3, 3), bool)
  want[1, 1] = True
  np.testing.assert_array_equal(moved, want)


@each_backbone
def test_uint8_and_float_images_get_the_same_codes(backbones):
  model = make(backbones(4))
  image = images(3, 16, 16, 3)
  variables = random_variables(model, image)
  want = call(model, variables, image, 'encode')
  got = call(model, variables, image.astype(np.float32) / 255, 'encode')
  np.testing.assert_array_equal(got.indices, want.indices)
  np.testing.assert_array_equal(got.quantized, want.quantized)
  assert len(np.unique(want.indices)) > 1


class Seen(nn.Module):
  """An encoder of stride 1 that records its input."""

  stride = 1

  @nn.compact
  def __call__(self, x):
    self.sow('intermediates', 'pixels', x)
    return x


class Echo(nn.Module):
  """A decoder that returns the first channel of its input."""

  stride: int = 1

  def __call__(self, codes):
    return codes[..., :1].astype(jnp.bfloat16)


@pytest.mark.parametrize('value_range', [(-1.0, 1.0), (-0.5, 0.5), (0.0, 1.0)])
def test_value_range_is_used_inside_and_the_unit_range_outside(value_range):
  low, high = value_range
  model = make((Seen(), Echo()), value_range=value_range)
  inside = jnp.array([low, (low + high) / 2, high]).reshape(1, 1, 3, 1)
  decoded = model.apply({}, inside, method='decode')
  assert decoded.dtype == jnp.float32
  np.testing.assert_array_equal(decoded.ravel(), [0, 0.5, 1])

  pixels = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3, 1)
  variables = random_variables(model, pixels, method='encode')
  _, state = jax.jit(
    lambda v: model.apply(v, pixels, method='encode', mutable=['intermediates'])
  )(variables)
  seen = state['intermediates']['encoder']['pixels'][0].ravel()
  np.testing.assert_allclose(seen, [low, low + (high - low) / 5, high], 1e-6)


@pytest.mark.parametrize(
  'shape', [(1, 10, 8, 3), (1, 8, 10, 3), (8, 8, 3), (1, 1, 8, 8, 3)]
)
def test_an_image_that_does_not_divide_is_refused(shape):
  model = make(conv(4))
  with pytest.raises(ValueError, match='multiples of 4') as error:
    jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))
  assert str(shape) in str(error.value)


class Witness(quantizers.VectorQuantizer):
  """A quantizer that requires float32 latents."""

  def __call__(self, z, *, train=False):
    assert z.dtype == jnp.float32
    return super().__call__(z, train=train)


@each_backbone
def test_bfloat16_backbones_stay_near_float32_and_the_quantizer_uses_float32(
  backbones,
):
  full, half = (
    make(backbones(4, dtype=dtype), Witness)
    for dtype in (jnp.float32, jnp.bfloat16)
  )
  image = images(2, 16, 16, 3).astype(np.float32) / 255
  variables = random_variables(half, image)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {
    jnp.dtype('float32')
  }
  backbone = {'params': variables['params']['encoder']}
  got, want = (call(m.encoder, backbone, image) for m in (half, full))
  assert (got.dtype, want.dtype) == (jnp.bfloat16, jnp.float32)
  scale = np.abs(want).max()
  np.testing.assert_allclose(got.astype(jnp.float32), want, atol=0.04 * scale)

  quantized = call(half, variables, image, 'encode')
  assert quantized.quantized.dtype == quantized.loss.dtype == jnp.float32
  codes = np.random.default_rng(1).normal(size=(2, 4, 4, D)).astype(np.float32)
  got, want = (call(m, variables, codes, 'decode') for m in (half, full))
  assert got.dtype == jnp.float32
  scale = np.abs(want).max()
  np.testing.assert_allclose(got, want, atol=0.04 * scale)


@each_quantizer
@each_backbone
def test_the_gradient_reaches_every_parameter(backbones, quantizer):
  """The encoder through the codes, and the codebook through its own loss."""
  model = make(backbones(2), quantizer)
  image = images(4, 8, 8, 3).astype(np.float32) / 255
  variables = random_variables(model, image)

  @jax.jit
  def gradient(params):
    def loss(params):
      decoded, quantized = model.apply({**variables, 'params': params}, image)
      return jnp.square(decoded - image).mean() + quantized.loss

    return jax.grad(loss)(params)

  leaves, _ = jax.tree_util.tree_flatten_with_path(
    gradient(variables['params'])
  )
  dead = [jax.tree_util.keystr(path) for path, leaf in leaves if not leaf.any()]
  assert not dead
  names = {path[0].key for path, _ in leaves}
  has_table = quantizer is quantizers.VectorQuantizer
  assert names == {'encoder', 'to_code', 'decoder'} | (
    {'quantizer'} if has_table else set()
  )


@each_backbone
def test_only_a_training_call_moves_the_codebook(backbones):
  model = make(backbones(4), quantizers.EMAVectorQuantizer)
  image = images(2, 8, 8, 3)
  variables = random_variables(model, image)

  @functools.partial(jax.jit, static_argnames='train')
  def updates(train):
    _, state = model.apply(variables, image, train=train, mutable=['codebook'])
    return state['codebook']['quantizer']['updates']

  assert (updates(train=False), updates(train=True)) == (0, 1)


def test_two_strides_are_refused():
  backbones = (Seen(), Echo(stride=2))
  with pytest.raises(ValueError, match='same stride; got 1 and 2'):
    make(backbones).apply({}, jnp.zeros((1, 2, 2, 1)), method='decode')


def test_a_pyramid_has_at_least_one_step():
  with pytest.raises(ValueError, match='downsamples must be .* at least 1'):
    conv_backbone.ConvEncoder(downsamples=0).init(
      jax.random.key(0), jnp.zeros((1, 8, 8, 3))
    )
  with pytest.raises(ValueError, match='upsamples must be .* at least 1'):
    conv_backbone.ConvDecoder(upsamples=0).init(
      jax.random.key(0), jnp.zeros((1, 8, 8, 4))
    )
