"""Input pipelines: from image files to batches.

`open_source` opens a source of images by its name (`tfds:fashion_mnist_mini`,
`folder:photos`, `npz:images.npz`). `in_memory` decodes a small source once.
`train_batches` and `eval_batches` read a source in batches with grain: `image`
uint8 [B, H, W, C] and `label` int32 [B]. Preprocessing operations, such as
`RandomCrop`, map uint8 images to uint8 images; the conversion to float happens
on the device.

Importing this package imports neither TFDS, grain nor Pillow.
"""

from vq_jax.data.base import ArraySource
from vq_jax.data.base import Source
from vq_jax.data.errors import DataError
from vq_jax.data.errors import FolderWarning
from vq_jax.data.errors import UnreadableImage
from vq_jax.data.errors import UnreadableImageWarning
from vq_jax.data.errors import WorkerWarning
from vq_jax.data.evaluation import EvalBatches
from vq_jax.data.evaluation import eval_batches
from vq_jax.data.evaluation import open_eval_batches
from vq_jax.data.folder import FolderSource
from vq_jax.data.memory import fits_in_memory
from vq_jax.data.memory import in_memory
from vq_jax.data.pipeline import TrainIterator
from vq_jax.data.pipeline import train_batches
from vq_jax.data.preprocessing import CenterCrop
from vq_jax.data.preprocessing import Channels
from vq_jax.data.preprocessing import RandomCrop
from vq_jax.data.preprocessing import RandomFlip
from vq_jax.data.preprocessing import RandomResize
from vq_jax.data.preprocessing import RandomResizedCrop
from vq_jax.data.preprocessing import Resize
from vq_jax.data.sources import open_source
from vq_jax.data.tfds_source import TfdsSource
from vq_jax.data.tokens import TokenSource
from vq_jax.data.tokens import require_images

__all__ = [
  'ArraySource',
  'CenterCrop',
  'Channels',
  'TokenSource',
  'DataError',
  'EvalBatches',
  'FolderSource',
  'FolderWarning',
  'RandomCrop',
  'RandomFlip',
  'RandomResize',
  'RandomResizedCrop',
  'Resize',
  'Source',
  'TfdsSource',
  'TrainIterator',
  'UnreadableImage',
  'UnreadableImageWarning',
  'WorkerWarning',
  'eval_batches',
  'fits_in_memory',
  'in_memory',
  'open_eval_batches',
  'open_source',
  'require_images',
  'train_batches',
]
