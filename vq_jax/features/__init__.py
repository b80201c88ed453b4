"""Frozen pretrained networks and their weights.

    network, variables = features.load('lpips_vgg16')
    clip, variables = features.load_clip('ViT-B/32')

Images are float [B, H, W, 3] or [B, H, W, 1] in [0, 1]. Weights are downloaded
only by `python -m vq_jax.features`, and those of CLIP not at all.
"""

from vq_jax.features.backbones import VGG16
from vq_jax.features.backbones import AlexNet
from vq_jax.features.backbones import load_heads
from vq_jax.features.classifier_text import ClassifierText
from vq_jax.features.classifier_text import class_names
from vq_jax.features.classifier_text import load_classifier_text
from vq_jax.features.clip import CLIP
from vq_jax.features.clip_config import CLIPConfig
from vq_jax.features.clip_config import ResNetConfig
from vq_jax.features.clip_config import ViTConfig
from vq_jax.features.clip_loading import load_clip
from vq_jax.features.clip_tokenizer import load_tokenizer
from vq_jax.features.efficientnet import EfficientNetLite
from vq_jax.features.extractor_loading import load_extractor
from vq_jax.features.extractors import FeatureExtractor
from vq_jax.features.inception import InceptionV3
from vq_jax.features.inception_loading import load_inception
from vq_jax.features.loading import load
from vq_jax.features.loading import make
from vq_jax.features.minilm import SentenceEncoder
from vq_jax.features.minilm import load_minilm
from vq_jax.features.released import MissingWeights
from vq_jax.features.released import download
from vq_jax.features.released import find

__all__ = [
  'AlexNet',
  'CLIP',
  'CLIPConfig',
  'ClassifierText',
  'EfficientNetLite',
  'FeatureExtractor',
  'InceptionV3',
  'MissingWeights',
  'ResNetConfig',
  'SentenceEncoder',
  'VGG16',
  'ViTConfig',
  'class_names',
  'download',
  'find',
  'load',
  'load_classifier_text',
  'load_clip',
  'load_extractor',
  'load_heads',
  'load_inception',
  'load_minilm',
  'load_tokenizer',
  'make',
]
