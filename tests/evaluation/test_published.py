"""Statistics of other programs are compared with features of their kind."""

import dataclasses

import numpy as np
import pytest

from tests.evaluation import extractors
from vq_jax import evaluation
from vq_jax.metrics import frechet

PROJECTION = extractors.random_projection()


def inception(resizer):
  return dataclasses.replace(PROJECTION, name='inception', resizer=resizer)


def images(count, low=0):
  rng = np.random.default_rng(low)
  return rng.integers(low, 256, (count, 8, 8, 3), np.uint8)


@pytest.fixture
def compare(tmp_path):
  """Compares images with a file, with the resizer of a network of that name."""
  np.savez(tmp_path / 'images.npz', images(12))

  def run(reference, of_network, **options):
    return evaluation.compare_image_sets(
      tmp_path / 'images.npz',
      reference,
      tmp_path / 'work',
      evaluation.EvaluationOptions(**{'metrics': ('fid',), **options}),
      extractor=inception(of_network),
    )

  return run


def write(path, *arrays, outputs):
  """Writes statistics that do not name their network, as other programs do."""
  found = PROJECTION(images(40, 50))
  moments = {}
  for output, suffix in outputs.items():
    gaussian = frechet.fit(found[output])
    moments[f'mu{suffix}'] = gaussian.mean
    moments[f'sigma{suffix}'] = gaussian.covariance
  np.savez(path, *arrays, **moments)
  return path


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('arrays', [(), (images(12, 50),)])
def test_statistics_of_adm_need_its_resizer(compare, tmp_path, arrays):
  outputs = {'pooled': '', 'spatial': '_s'}
  path = write(tmp_path / 'adm.npz', *arrays, outputs=outputs)
  for resizer in ('clean', 'pytorch', 'none'):
    for metrics in (('fid',), ('sfid', 'is'), None):
      with pytest.raises(ValueError, match='Add --resizer tensorflow'):
        compare(path, resizer, metrics=metrics)
  assert compare(path, 'tensorflow').value('fid') > 0
  others = ('kid',) if arrays else ('is',)
  assert compare(path, 'clean', metrics=others).results  # reads no statistics


def test_statistics_of_unknown_origin_need_a_resizer(compare, tmp_path):
  path = write(tmp_path / 'other.npz', outputs={'pooled': ''})
  with pytest.raises(ValueError, match='how its images were resized.*pytorch'):
    compare(path, 'clean')
  given = [compare(path, 'clean', resizer='clean'), compare(path, 'pytorch')]
  assert given[0].value('fid') == given[1].value('fid') > 0


def test_the_resizer_of_a_network_is_that_of_the_options(compare, tmp_path):
  path = write(tmp_path / 'other.npz', outputs={'pooled': ''})
  with pytest.raises(
    ValueError, match="'pytorch' and the options have 'clean'"
  ):
    compare(path, 'pytorch', resizer='clean')


def test_statistics_of_images_of_another_size(compare, tmp_path):
  np.savez(tmp_path / 'large.npz', images(12).repeat(2, 1))
  evaluation.compare_image_sets(
    *(tmp_path / 'large.npz', tmp_path / 'large.npz', tmp_path / 'work'),
    evaluation.EvaluationOptions(metrics=('fid',)),
    extractor=inception('clean'),
    save=evaluation.Save(statistics=tmp_path / 'written.npz'),
  )
  with pytest.raises(ValueError, match=r'images \[16, 8, 3\]; .* \[8, 8, 3\]'):
    compare(tmp_path / 'written.npz', 'clean')
