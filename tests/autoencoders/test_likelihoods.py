"""Likelihoods are probabilities, with the right mean and value for a pixel."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax.config import registry

EVERY = {
  'bernoulli': autoencoders.Bernoulli(),
  'gaussian': autoencoders.Gaussian(scale=0.2),
  'discretized_logistic': autoencoders.DiscretizedLogistic(scale=0.05),
}
every = pytest.mark.parametrize('name', EVERY)


def log_p(likelihood, output, image, log_scale=None):
  params = {} if log_scale is None else {'log_scale': jnp.float32(log_scale)}
  return jax.jit(likelihood.apply)({'params': params}, output, image)


def pixels(values):
  """Each value as an image of one pixel, [N, 1, 1, 1]."""
  return jnp.asarray(values, jnp.float32).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize('centre', [-0.2, 0.0, 0.3, 0.999, 1.1])
@pytest.mark.parametrize('log_scale', [-7.0, -3.0, 0.0])
def test_the_discretized_logistic_sums_to_one(centre, log_scale):
  image = pixels(np.arange(256) / 255)
  output = jnp.full_like(image, centre)
  p = np.exp(
    log_p(EVERY['discretized_logistic'], output, image, log_scale), dtype=float
  )
  np.testing.assert_allclose(p.sum(), 1, rtol=1e-4)


def test_the_discretized_logistic_by_the_distribution_function():
  likelihood = autoencoders.DiscretizedLogistic(scale=0.03, learned=False)
  values, centre = np.array([0, 1, 100, 254, 255]), 0.4

  def cdf(x):
    return 1 / (1 + np.exp(-(x - centre) / 0.03))

  low = np.where(values == 0, 0, cdf((values - 0.5) / 255))
  high = np.where(values == 255, 1, cdf((values + 0.5) / 255))
  image = pixels(values / 255)
  got = np.asarray(log_p(likelihood, jnp.full_like(image, centre), image))
  want = np.log(high - low)
  np.testing.assert_allclose(got[[0, 1, 2]], want[[0, 1, 2]], rtol=1e-4)
  # float64 itself cancels in the far tail
  np.testing.assert_allclose(got[3:], want[3:], rtol=1e-3)


def test_pixels_far_from_the_mean_have_finite_gradients():
  """Where the plain difference of two logistics would be log 0."""
  likelihood = EVERY['discretized_logistic']
  image = pixels([0.0, 0.5, 1.0])

  @jax.jit
  @jax.grad
  def slope(output):
    params = {'params': {'log_scale': jnp.float32(-7)}}
    return likelihood.apply(params, output, image).sum()

  found = slope(pixels([3.0, 3.0, -3.0]))
  assert np.isfinite(found).all()
  np.testing.assert_array_equal(np.sign(found).ravel(), [-1, -1, 1])


def test_gaussian_by_hand():
  image, output = pixels([0.1, 0.9]), pixels([0.4, 0.9])
  got = log_p(EVERY['gaussian'], output, image, np.log(0.2))
  want = -0.5 * (np.array([0.3, 0]) / 0.2) ** 2 - np.log(
    0.2 * np.sqrt(2 * np.pi)
  )
  np.testing.assert_allclose(got, want, rtol=1e-5)
  fixed = autoencoders.Gaussian(scale=0.2, learned=False)
  np.testing.assert_allclose(log_p(fixed, output, image), want, rtol=1e-5)


def test_a_learned_gaussian_is_best_at_the_root_mean_square_error():
  rng = np.random.default_rng(0)
  image = pixels(rng.uniform(size=200))
  output = image + pixels(0.3 * rng.normal(size=200))
  rms = np.sqrt(np.square(image - output).mean())

  def total(log_scale):
    return float(log_p(EVERY['gaussian'], output, image, log_scale).sum())

  best = total(np.log(rms))
  assert best > total(np.log(1.05 * rms)) and best > total(np.log(0.95 * rms))


def test_bernoulli_is_the_cross_entropy():
  image, output = pixels([0, 1, 0.25]), pixels([-2.0, 3.0, 0.5])
  p = 1 / (1 + np.exp(-np.asarray(output)))
  want = image * np.log(p) + (1 - image) * np.log(1 - p)
  got = log_p(EVERY['bernoulli'], output, image)
  np.testing.assert_allclose(got, np.asarray(want).ravel(), rtol=1e-5)
  np.testing.assert_allclose(EVERY['bernoulli'].mean(output), p, rtol=1e-5)


@every
def test_a_log_likelihood_is_the_sum_over_all_pixels(name):
  likelihood = EVERY[name]
  log_scale = None if name == 'bernoulli' else -1.0
  rng = np.random.default_rng(0)
  image = np.round(rng.uniform(size=(2, 3, 4, 3)) * 255) / 255
  output = rng.normal(size=image.shape)
  image, output = (jnp.asarray(x, jnp.float32) for x in (image, output))
  whole = log_p(likelihood, output, image, log_scale)
  single = log_p(
    likelihood,
    output.reshape(-1, 1, 1, 1),
    image.reshape(-1, 1, 1, 1),
    log_scale,
  )
  np.testing.assert_allclose(
    whole, single.reshape(2, -1).sum(axis=1), rtol=1e-4
  )


@every
def test_the_scale_is_a_parameter_only_where_it_is_learned(name):
  for learned in (True, False):
    likelihood = EVERY[name]
    if name != 'bernoulli':
      likelihood = likelihood.clone(learned=learned)
    variables = likelihood.init(jax.random.key(0), pixels([0.5]), pixels([0.5]))
    has = 'log_scale' in variables.get('params', {})
    assert has == (learned and name != 'bernoulli')
    if has:
      start = np.exp(variables['params']['log_scale'])
      np.testing.assert_allclose(start, likelihood.scale, rtol=1e-6)


def test_equal_scales_per_pixel_equal_one_shared_scale():
  rng = np.random.default_rng(0)
  image = jnp.asarray(rng.integers(0, 256, (2, 3, 4, 3)) / 255, jnp.float32)
  centre = jnp.asarray(rng.normal(size=image.shape), jnp.float32)
  each = autoencoders.PixelwiseLogistic(scale=0.1)
  for scale in (0.02, 0.5):
    relative = jnp.full_like(centre, np.log(scale / 0.1))
    output = jnp.concatenate([centre, relative], axis=-1)
    np.testing.assert_allclose(
      each.apply({}, output, image),
      log_p(EVERY['discretized_logistic'], centre, image, np.log(scale)),
      rtol=1e-5,
    )
    np.testing.assert_array_equal(each.mean(output), centre)


def test_a_scale_is_never_smaller_than_the_smallest():
  each = autoencoders.PixelwiseLogistic(scale=0.1, smallest=0.01)
  image = pixels([0.5])

  def with_scale(scale):
    output = jnp.array([0.4, np.log(scale / 0.1)], jnp.float32)
    return each.apply({}, output.reshape(1, 1, 1, 2), image)

  np.testing.assert_array_equal(with_scale(1e-6), with_scale(0.01))
  assert with_scale(0.05) > with_scale(0.01)


def mixture_output(weights, centres, scales, coefficients):
  """Returns the output of a decoder for one pixel: [1, 1, 1, outputs]."""
  each = [
    [np.log(weight), *centre, *np.log(np.divide(scale, 0.1)), *coefficient]
    for weight, centre, scale, coefficient in zip(
      weights, centres, scales, coefficients, strict=True
    )
  ]
  return jnp.asarray(each, jnp.float32).reshape(1, 1, 1, -1)


def test_a_mixture_of_one_without_coefficients_is_a_pixelwise_logistic():
  rng = np.random.default_rng(0)
  image = jnp.asarray(rng.integers(0, 256, (2, 3, 4, 3)) / 255, jnp.float32)
  output = jnp.asarray(rng.normal(size=(2, 3, 4, 6)), jnp.float32)
  zeros = jnp.zeros((2, 3, 4, 3))
  mixture = autoencoders.LogisticMixture(components=1)
  one = jnp.concatenate([zeros[..., :1] + 7, output, zeros], axis=-1)
  assert mixture.outputs(3) == one.shape[-1]
  np.testing.assert_allclose(
    mixture.apply({}, one, image),
    autoencoders.PixelwiseLogistic().apply({}, output, image),
    rtol=1e-5,
  )


def test_a_mixture_sums_to_one_over_pixels_of_two_channels():
  output = mixture_output(
    [0.3, 0.7],
    [[0.2, 0.4], [0.8, 0.7]],
    [[0.03, 0.1], [0.05, 0.02]],
    [[0.9], [-1.7]],
  )
  values = np.stack(np.meshgrid(np.arange(256), np.arange(256)), -1) / 255
  image = jnp.asarray(values.reshape(-1, 1, 1, 2), jnp.float32)
  output = jnp.broadcast_to(output, (*image.shape[:3], output.shape[-1]))
  mixture = autoencoders.LogisticMixture(components=2)
  p = np.exp(mixture.apply({}, output, image), dtype=float)
  np.testing.assert_allclose(p.sum(), 1, rtol=1e-4)
  # and its mean is the mean of the pixels, far from the ends of the range
  np.testing.assert_allclose(
    p @ np.asarray(image[:, 0, 0]),
    np.asarray(mixture.mean(output[:1])).ravel(),
    atol=0.01,
  )


def test_a_mixture_shifts_each_channel_by_the_previous_ones():
  """Blue by the errors of red and green, each by its own coefficient."""
  mixture = autoencoders.LogisticMixture(components=1)
  centre, scale = np.array([0.4, 0.5, 0.6]), np.array([0.05, 0.04, 0.03])
  pixel = np.array([110, 120, 140]) / 255
  error = pixel - centre
  moved = centre + [0, 0.5 * error[0], -0.7 * error[0] + 0.2 * error[1]]
  image = jnp.asarray(pixel.reshape(1, 1, 1, 3), jnp.float32)
  got = mixture.apply(
    {}, mixture_output([1], [centre], [scale], [[0.5, -0.7, 0.2]]), image
  )
  want = mixture.apply(
    {}, mixture_output([1], [moved], [scale], [[0] * 3]), image
  )
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_the_logit_laplace_is_a_density_whose_mean_is_its_median():
  edges = np.linspace(0, 1, 20_001)
  middle = pixels((edges[1:] + edges[:-1]) / 2)
  likelihood = autoencoders.LogitLaplace()
  output = jnp.asarray([0.7, np.log(0.2)], jnp.float32).reshape(1, 1, 1, 2)
  wide = jnp.broadcast_to(output, (*middle.shape[:3], 2))
  p = np.exp(likelihood.apply({}, wide, middle), dtype=float) / len(middle)
  # what lies beyond the margins is lost
  room = [np.log(0.9 / 0.1), -np.log(0.9 / 0.1)]
  lost = [np.exp(-abs(x - 0.7) / 0.2) / 2 for x in room]
  np.testing.assert_allclose(p.sum(), 1 - sum(lost), rtol=1e-4)
  median = edges[1:][np.searchsorted(np.cumsum(p) + lost[1], 0.5)]
  np.testing.assert_allclose(likelihood.mean(output).item(), median, atol=1e-3)


RANGE = (-0.5, 0.5)
# Which of the numbers for a pixel of two channels are pixels themselves.
CENTRES = [
  (autoencoders.Bernoulli(), []),
  (autoencoders.Gaussian(), [0, 1]),
  (autoencoders.DiscretizedLogistic(), [0, 1]),
  (autoencoders.PixelwiseLogistic(), [0, 1]),
  (autoencoders.LogitLaplace(), []),
  (autoencoders.LogisticMixture(components=2), [1, 2, 7, 8]),
]


@pytest.mark.parametrize(('likelihood', 'centres'), CENTRES)
def test_only_decoder_outputs_that_are_pixels_are_rescaled(likelihood, centres):
  """Not logits, scales, weights or coefficients."""
  output = np.random.default_rng(0).normal(size=(2, 1, 1, 1))
  output = np.tile(output, likelihood.outputs(2)).astype(np.float32)
  want = np.array(output)
  want[..., centres] += 0.5
  got = likelihood.in_unit_range(jnp.asarray(output), RANGE)
  np.testing.assert_allclose(got, want, rtol=1e-6)
  if centres:
    np.testing.assert_allclose(
      likelihood.mean(got),
      likelihood.mean(jnp.asarray(output)) + 0.5,
      rtol=1e-5,
    )


class Numbers(nn.Module):
  """A decoder of stride 1 that returns its input."""

  stride: int = 1

  def __call__(self, codes):
    return codes


@pytest.mark.parametrize(('likelihood', 'centres'), CENTRES)
def test_a_vqvae_maps_only_pixels_to_the_unit_range(likelihood, centres):
  model = autoencoders.VQVAE(
    encoder=Numbers(),
    quantizer=quantizers.FSQ((3,) * likelihood.outputs(2)),
    decoder=Numbers(),
    value_range=RANGE,
    likelihood=likelihood,
  )
  codes = jnp.zeros((1, 1, 1, likelihood.outputs(2)))
  want = np.zeros(codes.shape, np.float32)
  want[..., centres] = 0.5
  got = model.apply({}, codes, method='decode_output')
  np.testing.assert_array_equal(got, want)


def test_every_likelihood_is_tried():
  known = {type(likelihood) for likelihood, _ in CENTRES}
  assert known == set(registry.REGISTRY['likelihood'].values())
