"""What the configs share: the data of each family, and the smoke variant.

Only the standard library is imported, so that a config can be read anywhere.
"""

# The data and the length of a test, on images that come with the library.
SMOKE_DATA = dict(
  source='tfds:fashion_mnist_mini',
  train_split='train[:10%]',
  channels=3,
  batch_size=8,
  eval_batch_size=8,
  eval_limit=16,
  train_preprocess=(dict(type='resize', size=32),),
  eval_preprocess=(dict(type='resize', size=32),),
)
SMOKE_TRAIN = dict(
  total_steps=4,
  log_every=dict(steps=2),
  eval_every=dict(steps=4),
  save_every=dict(steps=4),
  num_images=8,
)
# Changes of a smoke variant that several configs share. The weights of the
# perceptual losses are not needed.
SMOKE_TRANSFORMER = dict(
  model=dict(transformer=dict(layers=2, width=32, heads=2, mlp_width=64))
)
SMOKE_VQGAN = dict(
  model=dict(
    channels=32,
    multipliers=(1, 2),
    blocks=1,
    quantizer=dict(codebook_size=64, code_dim=16),
  ),
  loss=dict(lpips=0.0, classifier=0.0),
)
SMOKE_PATCHGAN = dict(
  adversary=dict(
    discriminator=dict(channels=8, layers=1),
    start=dict(steps=2),
    discriminator_start=dict(steps=2),
  )
)
SMOKE_STYLEGAN = dict(
  adversary=dict(discriminator=dict(channels=8, multipliers=(1, 1)))
)


def merge(base: dict, *changes: dict) -> dict:
  """Returns `base` with changes, dict by dict.

  A spec of another type replaces the one that is there.
  """
  merged = dict(base)
  for change in changes:
    for key, value in change.items():
      old = merged.get(key)
      if isinstance(old, dict) and isinstance(value, dict):
        if value.get('type', old.get('type')) == old.get('type'):
          value = merge(old, value)
      merged[key] = value
  return merged


def variant(name: str, config: dict, smoke: dict) -> dict:
  """Returns a config, or with the name 'smoke' a test of it that takes seconds.

  Args:
    name: '' or 'smoke'.
    config: the config.
    smoke: what the test changes, apart from `SMOKE_DATA` and `SMOKE_TRAIN`.

  Raises:
    ValueError: if there is no such variant.
  """
  if name not in ('', 'smoke'):
    raise ValueError(f'no variant {name!r} of this config; there is: smoke.')
  if not name:
    return config
  return merge({**config, 'data': SMOKE_DATA, 'train': SMOKE_TRAIN}, smoke)


def long_training(**changes) -> dict:
  """Returns a training of days: evaluated every 2 %, saved every 0.5 %."""
  train = dict(
    eval_every=dict(percent=2), save_every=dict(percent=0.5), num_images=8
  )
  return {**train, **changes}


def center_crop(size: int) -> tuple:
  """Returns the preprocessing that resizes the shorter side and crops."""
  return (dict(type='resize', size=size), dict(type='center_crop', size=size))


def random_crop(size: int, *, resized: int | None = None) -> tuple:
  """Returns the preprocessing that crops images at random.

  Args:
    size: side of the crops.
    resized: the shorter side of an image before it is cropped; that of the
      crops by default.
  """
  return (
    dict(type='resize', size=resized or size),
    dict(type='random_crop', size=size),
  )


FLIP = (dict(type='random_flip'),)


def imagenet(size: int, *, batch_size: int, **changes) -> dict:
  """Returns ImageNet, read by 16 processes.

  It must be prepared for TFDS; its archives are downloaded by hand.
  """
  data = dict(
    source='tfds:imagenet2012',
    eval_split='validation',
    channels=3,
    batch_size=batch_size,
    eval_batch_size=batch_size,
    train_preprocess=random_crop(size) + FLIP,
    eval_preprocess=center_crop(size),
    in_memory=False,
    workers=16,
  )
  return {**data, **changes}


def cifar10(*, batch_size: int, **changes) -> dict:
  """Returns CIFAR-10, which TFDS downloads on first use."""
  return dict(
    source='tfds:cifar10',
    batch_size=batch_size,
    eval_batch_size=200,
    **changes,
  )


def fashion_mnist(*, batch_size: int, **changes) -> dict:
  """Returns the 28 x 28 grey garments that come with the library."""
  return dict(
    source='tfds:fashion_mnist_mini',
    batch_size=batch_size,
    eval_batch_size=200,
    **changes,
  )


# Instead of `SMOKE_DATA`, the same images as they are.
SMOKE_FASHION = dict(
  data=dict(
    channels=None,
    batch_size=16,
    eval_batch_size=40,
    eval_limit=200,
    train_preprocess=(),
    eval_preprocess=(),
  )
)


def folder(path: str, size: int, *, batch_size: int, **changes) -> dict:
  """Returns a folder of images, of which 5 % are kept for evaluation."""
  data = dict(
    source=f'folder:{path}',
    train_split='train[:95%]',
    eval_split='train[95%:]',
    channels=3,
    batch_size=batch_size,
    eval_batch_size=batch_size,
    train_preprocess=random_crop(size) + FLIP,
    eval_preprocess=center_crop(size),
    in_memory=False,
  )
  return {**data, **changes}


# Instead of `SMOKE_DATA`, a folder of images.
SMOKE_FOLDER = dict(data=folder('images', 32, batch_size=8))
