"""Toy checkpoints of CLIP, and what other programs compute with them.

`clip.json` was written by running this file with PyTorch 2.13 and transformers
5.24 installed: the Vision Transformers are computed by `transformers.CLIPModel`
and the ResNet by `torch_resnet`.
"""

import dataclasses
import json
import pathlib

import numpy as np

JSON = pathlib.Path(__file__).parent / 'clip.json'
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
END, VOCAB, LENGTH, DIM = 29, 30, 10, 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy:
  """A toy model; `patch` is None for a ResNet."""

  image_size: int
  patch: int | None = None
  width: int = 64
  stages: tuple[int, ...] = (1, 2, 1, 1)
  activation: str = 'quick_gelu'
  layers: int = 2


TOYS = {
  'two by two patches': Toy(image_size=16, patch=8),
  'gelu': Toy(image_size=16, patch=4, activation='gelu', layers=1),
  'odd patches': Toy(image_size=21, patch=7, width=128),
  'resnet': Toy(image_size=64, width=8),
}


def state(toy, seed=0):
  """Returns an OpenAI state dict of random arrays."""
  shapes = {
    'positional_embedding': (LENGTH, 64),
    'text_projection': (64, DIM),
    'logit_scale': (),
    'token_embedding.weight': (VOCAB, 64),
    **_norm('ln_final', 64),
    **_blocks('transformer', 64, toy.layers),
    **(_vit(toy) if toy.patch else _resnet(toy)),
  }
  rng = np.random.default_rng(seed)

  def array(name, shape):
    if not shape:
      return np.asarray(2.5, np.float32)
    noise = rng.normal(size=shape)
    if name.endswith('running_var'):
      value = 1 + noise**2
    elif len(shape) == 1:
      value = 0.2 * noise + name.endswith('weight')
    else:
      value = noise * np.prod(shape[1:]) ** -0.5
    return value.astype(np.float32)

  return {name: array(name, shape) for name, shape in shapes.items()}


def openai(toy, seed=0):
  """Returns `state` with the numbers that only the files of OpenAI have."""
  numbers = {
    'input_resolution': toy.image_size,
    'context_length': LENGTH,
    'vocab_size': VOCAB,
  }
  return state(toy, seed) | {k: np.asarray(v) for k, v in numbers.items()}


def _norm(name, width):
  return {f'{name}.weight': (width,), f'{name}.bias': (width,)}


def _linear(name, inputs, outputs):
  return {f'{name}.weight': (outputs, inputs), f'{name}.bias': (outputs,)}


def _blocks(name, width, layers):
  shapes = {}
  for i in range(layers):
    block = f'{name}.resblocks.{i}'
    shapes |= {
      **_norm(f'{block}.ln_1', width),
      f'{block}.attn.in_proj_weight': (3 * width, width),
      f'{block}.attn.in_proj_bias': (3 * width,),
      **_linear(f'{block}.attn.out_proj', width, width),
      **_norm(f'{block}.ln_2', width),
      **_linear(f'{block}.mlp.c_fc', width, 4 * width),
      **_linear(f'{block}.mlp.c_proj', 4 * width, width),
    }
  return shapes


def _vit(toy):
  cells = (toy.image_size // toy.patch) ** 2
  return {
    'visual.class_embedding': (toy.width,),
    'visual.positional_embedding': (cells + 1, toy.width),
    'visual.proj': (toy.width, DIM),
    'visual.conv1.weight': (toy.width, 3, toy.patch, toy.patch),
    **_norm('visual.ln_pre', toy.width),
    **_norm('visual.ln_post', toy.width),
    **_blocks('visual.transformer', toy.width, toy.layers),
  }


def _conv(name, norm, inputs, outputs, kernel):
  statistics = {f'{norm}.running_{x}': (outputs,) for x in ('mean', 'var')}
  return {
    f'{name}.weight': (outputs, inputs, kernel, kernel),
    **_norm(norm, outputs),
    **statistics,
  }


def _resnet(toy):
  w, last = toy.width, 32 * toy.width
  shapes = {
    **_conv('visual.conv1', 'visual.bn1', 3, w // 2, 3),
    **_conv('visual.conv2', 'visual.bn2', w // 2, w // 2, 3),
    **_conv('visual.conv3', 'visual.bn3', w // 2, w, 3),
  }
  inputs = w
  for i, blocks in enumerate(toy.stages):
    inner = w * 2**i
    for j in range(blocks):
      name = f'visual.layer{i + 1}.{j}'
      shapes |= _conv(f'{name}.conv1', f'{name}.bn1', inputs, inner, 1)
      shapes |= _conv(f'{name}.conv2', f'{name}.bn2', inner, inner, 3)
      shapes |= _conv(f'{name}.conv3', f'{name}.bn3', inner, 4 * inner, 1)
      if j == 0:
        down = f'{name}.downsample'
        shapes |= _conv(f'{down}.0', f'{down}.1', inputs, 4 * inner, 1)
      inputs = 4 * inner
  pool, cells = 'visual.attnpool', (toy.image_size // 32) ** 2
  return shapes | {
    f'{pool}.positional_embedding': (cells + 1, last),
    **_linear(f'{pool}.q_proj', last, last),
    **_linear(f'{pool}.k_proj', last, last),
    **_linear(f'{pool}.v_proj', last, last),
    **_linear(f'{pool}.c_proj', last, DIM),
  }


_HUGGINGFACE = (
  ('visual.transformer.resblocks.', 'vision_model.encoder.layers.'),
  ('transformer.resblocks.', 'text_model.encoder.layers.'),
  ('.attn.', '.self_attn.'),
  ('.mlp.c_fc', '.mlp.fc1'),
  ('.mlp.c_proj', '.mlp.fc2'),
  ('.ln_', '.layer_norm'),
)
_HUGGINGFACE_TOP = {
  'token_embedding.weight': 'text_model.embeddings.token_embedding.weight',
  'positional_embedding': 'text_model.embeddings.position_embedding.weight',
  'ln_final.weight': 'text_model.final_layer_norm.weight',
  'ln_final.bias': 'text_model.final_layer_norm.bias',
  'visual.class_embedding': 'vision_model.embeddings.class_embedding',
  'visual.positional_embedding': (
    'vision_model.embeddings.position_embedding.weight'
  ),
  'visual.conv1.weight': 'vision_model.embeddings.patch_embedding.weight',
  'visual.ln_pre.weight': 'vision_model.pre_layrnorm.weight',
  'visual.ln_pre.bias': 'vision_model.pre_layrnorm.bias',
  'visual.ln_post.weight': 'vision_model.post_layernorm.weight',
  'visual.ln_post.bias': 'vision_model.post_layernorm.bias',
  'logit_scale': 'logit_scale',
}


def huggingface(arrays):
  """Returns the same model by the names of Hugging Face."""
  found = {
    'text_projection.weight': arrays['text_projection'].T.copy(),
    'visual_projection.weight': arrays['visual.proj'].T.copy(),
  }
  for name, array in arrays.items():
    if name in ('text_projection', 'visual.proj') or array.dtype == np.int64:
      continue
    new = _HUGGINGFACE_TOP.get(name, name)
    if new == name:
      for old, replacement in _HUGGINGFACE:
        new = new.replace(old, replacement)
    if '.in_proj_' in new:
      head, leaf = new.split('.in_proj_')
      for letter, part in zip('qkv', np.split(array, 3), strict=True):
        found[f'{head}.{letter}_proj.{leaf}'] = part.copy()
    else:
      found[new] = array
  return found


def huggingface_config(toy, **text):
  """Returns the content of config.json."""
  encoder = {'hidden_act': toy.activation, 'num_hidden_layers': toy.layers}
  return {
    'model_type': 'clip',
    'projection_dim': DIM,
    'text_config': {
      **encoder,
      'hidden_size': 64,
      'intermediate_size': 256,
      'num_attention_heads': 1,
      'max_position_embeddings': LENGTH,
      'vocab_size': VOCAB,
      'bos_token_id': END - 1,
      'eos_token_id': END,
      **text,
    },
    'vision_config': {
      **encoder,
      'hidden_size': toy.width,
      'intermediate_size': 4 * toy.width,
      'num_attention_heads': toy.width // 64,
      'image_size': toy.image_size,
      'patch_size': toy.patch,
    },
  }


def inputs(toy):
  """Returns two images, float32 in [0, 1], and three texts."""
  rng = np.random.default_rng(1)
  image = rng.random((2, toy.image_size, toy.image_size, 3), np.float32)
  tokens = rng.integers(0, END - 1, (3, LENGTH), np.int32)
  tokens[:, 0] = END - 1
  for row, end in zip(tokens, (3, LENGTH - 1, 5), strict=True):
    row[end] = END
    row[end + 1 :] = 0
  return image, tokens


def normalized(image):
  """Returns the images as other programs take them, [B, 3, H, W]."""
  image = (image - np.float32(MEAN)) / np.float32(STD)
  return image.transpose(0, 3, 1, 2)


def transformers_outputs(toy, arrays, image, tokens, **text):
  """Returns embeddings and logits of `transformers.CLIPModel`."""
  import torch
  import transformers

  config = transformers.CLIPConfig(**huggingface_config(toy, **text))
  model = transformers.CLIPModel(config).eval()
  tensors = {k: torch.tensor(v) for k, v in huggingface(arrays).items()}
  missing, unexpected = model.load_state_dict(tensors, strict=False)
  assert not unexpected and all('position_ids' in name for name in missing)
  with torch.no_grad():
    found = model(
      input_ids=torch.tensor(tokens).long(),
      pixel_values=torch.tensor(normalized(image)),
    )
  return {
    'image': found.image_embeds.numpy(),
    'text': found.text_embeds.numpy(),
    'logits': found.logits_per_image.numpy(),
  }


def torch_resnet(arrays, image):
  """Returns the embeddings of a ResNet, written with functions of PyTorch."""
  import torch
  from torch.nn import functional as F

  w = {
    name.removeprefix('visual.'): torch.tensor(array).double()
    for name, array in arrays.items()
    if name.startswith('visual.')
  }

  def conv(x, name, norm, **options):
    x = F.conv2d(x, w[f'{name}.weight'], **options)
    return F.batch_norm(
      x,
      *(w[f'{norm}.running_{stat}'] for stat in ('mean', 'var')),
      w[f'{norm}.weight'],
      w[f'{norm}.bias'],
    )

  def block(x, name, stride):
    y = F.relu(conv(x, f'{name}.conv1', f'{name}.bn1'))
    y = F.relu(conv(y, f'{name}.conv2', f'{name}.bn2', padding=1))
    y = conv(F.avg_pool2d(y, stride), f'{name}.conv3', f'{name}.bn3')
    if f'{name}.downsample.0.weight' in w:
      x = F.avg_pool2d(x, stride)
      x = conv(x, f'{name}.downsample.0', f'{name}.downsample.1')
    return F.relu(x + y)

  x = torch.tensor(normalized(image)).double()
  x = F.relu(conv(x, 'conv1', 'bn1', stride=2, padding=1))
  x = F.relu(conv(x, 'conv2', 'bn2', padding=1))
  x = F.avg_pool2d(F.relu(conv(x, 'conv3', 'bn3', padding=1)), 2)
  names = {tuple(n.split('.')[:2]) for n in w if n.startswith('layer')}
  for name in map('.'.join, sorted(names)):
    x = block(x, name, 2 if name.endswith('.0') and name[5] != '1' else 1)
  x = x.flatten(2).transpose(1, 2)
  x = torch.cat([x.mean(1, keepdim=True), x], dim=1)
  x = x + w['attnpool.positional_embedding']
  heads = x.shape[-1] // 64
  query, key, value = (
    F.linear(
      x, w[f'attnpool.{n}_proj.weight'], w[f'attnpool.{n}_proj.bias']
    ).unflatten(-1, (heads, 64))
    for n in 'qkv'
  )
  logits = torch.einsum('bhd,bnhd->bhn', query[:, 0], key) / 8
  x = torch.einsum('bhn,bnhd->bhd', logits.softmax(-1), value).flatten(1)
  x = F.linear(x, w['attnpool.c_proj.weight'], w['attnpool.c_proj.bias'])
  return F.normalize(x).float().numpy()


def outputs(name):
  """Computes the outputs of a toy by other programs."""
  toy = TOYS[name]
  arrays, (image, tokens) = state(toy), inputs(toy)
  if toy.patch:
    return transformers_outputs(toy, arrays, image, tokens)
  return {'image': torch_resnet(arrays, image)}


if __name__ == '__main__':
  JSON.write_text(
    json.dumps(
      {
        name: {k: np.round(v, 6).tolist() for k, v in outputs(name).items()}
        for name in TOYS
      }
    ).replace('], "', '],\n"')
    + '\n'
  )
