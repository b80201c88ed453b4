"""Wrong inputs: each one gives one line that says what is wrong."""

import functools
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import vq_jax
from train import main as train_main
from vq_jax import data
from vq_jax import samplers
from vq_jax.cli import main as cli
from vq_jax.utils import images as images_lib
from vq_jax.workflows import mixture
from vq_jax.workflows import probe
from vq_jax.workflows import tokenize

LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n'
HTML = b'<!DOCTYPE html><html><body>Not found</body></html>'


def write_files(folder: pathlib.Path) -> None:
  """Writes images, data sets, and files that are neither."""
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
  Image.fromarray(pixels).save(folder / 'image.png')
  Image.fromarray(pixels[:4, :6]).save(folder / 'small.png')
  Image.fromarray(pixels[:1, :1]).save(folder / 'dot.png')
  Image.fromarray(pixels.astype(np.float32)).save(folder / 'floats.tif')
  (folder / 'cut.png').write_bytes((folder / 'image.png').read_bytes()[:70])
  for name, content in {'lfs': LFS, 'html': HTML, 'empty': b''}.items():
    for suffix in ('png', 'npz', 'ckpt', 'safetensors'):
      (folder / f'{name}.{suffix}').write_bytes(content)
  header = json.dumps(
    {'a': {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16]}}
  ).encode()
  whole = len(header).to_bytes(8, 'little') + header + bytes(16)
  (folder / 'cut.safetensors').write_bytes(whole[:-6])
  (folder / 'half.safetensors').write_bytes(whole[:20])
  (folder / 'zip.ckpt').write_bytes(b'PK\x03\x04' + bytes(60))
  (folder / 'no_images').mkdir()
  (folder / 'no_images' / 'notes.txt').write_text('none')
  (folder / 'nothing').mkdir()
  grey = np.zeros((6, 8, 8), np.uint8)
  for name, arrays in {
    'floats': {'images': grey / 255},
    'ints': {'images': grey.astype(np.int64)},
    'flat': {'images': grey[0]},
    'channels': {'images': np.zeros((6, 8, 8, 2), np.uint8)},
    'none': {'images': grey[:0]},
    'names': {'images': grey, 'labels': np.array(['a'] * 6)},
    'halves': {'images': grey, 'labels': np.zeros(6)},
    'few': {'images': grey, 'labels': np.zeros(5, int)},
    'negative': {'images': grey, 'labels': np.arange(-1, 5)},
    'unnamed': {'photos': grey},
    'objects': {'images': np.array([None])},
    'unlabelled': {'images': grey},
  }.items():
    np.savez(folder / f'{name}.npz', **arrays)
  for name, record in {
    'list': [], 'started': {'complete': False}, 'empty': {'complete': True},
  }.items():  # fmt: skip
    (folder / f'{name}_tokens').mkdir()
    (folder / f'{name}_tokens' / 'tokenizer.json').write_text(
      json.dumps(record)
    )
  content = (folder / 'unlabelled.npz').read_bytes()
  (folder / 'cut.npz').write_bytes(content[: len(content) // 2])


def write_runs(folder: pathlib.Path, run: str) -> None:
  """Writes damaged copies of a run."""
  (folder / 'no_config').mkdir()
  config = (pathlib.Path(run) / 'config.json').read_text()
  for name, text in {
    'cut_config': config[: len(config) // 2],
    'empty_config': '',
    'list_config': '[]',
    'empty_object': '{}',
    'binary_config': '\x00\x01',
    'no_checkpoint': config,
    'no_task': json.dumps({**json.loads(config), 'config': {}}),
    'no_model': json.dumps(
      {**json.loads(config), 'config': {'task': 'autoencoder'}}
    ),
    'no_data': json.dumps({'config': json.loads(config)['config']}),
  }.items():
    (folder / name).mkdir()
    (folder / name / 'config.json').write_text(text)
  bytes_config = folder / 'bytes_config'
  bytes_config.mkdir()
  (bytes_config / 'config.json').write_bytes(b'\xff\xfe\x00{')
  damaged = shutil.copytree(run, folder / 'damaged')
  for file in (damaged / 'checkpoints').glob('*/variables/**/*'):
    if file.is_file():
      file.write_bytes(b'')
  unfinished = shutil.copytree(run, folder / 'unfinished')
  for step in (unfinished / 'checkpoints').iterdir():
    shutil.rmtree(step / 'variables')
  (folder / 'file').write_text('no folder')


@pytest.fixture(scope='module')
def paths(tokenizer, maskgit, vae_run, source, tmp_path_factory):
  """The names in the commands below."""
  folder = tmp_path_factory.mktemp('bad')
  write_files(folder)
  write_runs(folder, tokenizer)
  return {
    'tokenizer': tokenizer,
    'maskgit': maskgit,
    'vae': vae_run,
    'source': source,
    'bad': str(folder),
    'image': str(folder / 'image.png'),
  }


@pytest.fixture(scope='module')
def load():
  """Loads each undamaged run once."""
  return functools.cache(vq_jax.load)


GENERATE = 'generate {maskgit}'
EDIT = 'edit {maskgit} {image} --box 2,2,4,4'
TOKENIZE = 'tokenize {tokenizer} --data {source} --out tokens'
PROBE = 'probe {tokenizer} --data {source} --test-split train'
COMMANDS = [
  # runs
  ('generate nowhere', 'no such run folder: nowhere'),
  ('generate {bad}/file', 'no such run folder: '),
  ('info {bad}/no_config', 'is not a run folder: it has no config.json'),
  ('info {bad}/cut_config', 'config.json is not valid JSON'),
  ('info {bad}/empty_config', 'config.json is not valid JSON'),
  ('info {bad}/binary_config', 'config.json is not valid JSON'),
  ('info {bad}/bytes_config', 'config.json is not valid JSON'),
  ('info {bad}/list_config', 'config.json is not the config of a run'),
  ('info {bad}/empty_object', 'config.json is not the config of a run'),
  ('info {bad}/no_task', 'config.json is not the config of a run'),
  ('info {bad}/no_model', 'config.json is not the config of a run'),
  ('info {bad}/no_data', 'config.json is not the config of a run'),
  ('info {bad}/no_checkpoint', 'has no complete checkpoint yet'),
  ('info {bad}/damaged', 'are damaged (step 8: '),
  ('info {bad}/unfinished', 'are damaged (step 8: '),
  ('generate {tokenizer}', 'an autoencoder without a prior, so it cannot gen'),
  # numbers
  (GENERATE + ' --seed 99999999999999999999999', 'the seed must be a whole'),
  (GENERATE + ' --seed -1', 'the seed must be a whole number in [0, 4294967'),
  (GENERATE + ' --num 0', '--num must be a whole number in [1, 16777216]'),
  (GENERATE + ' --num 99999999999', '--num must be a whole number in'),
  (GENERATE + ' --batch-size 0', 'batch_size must be a whole number in'),
  (GENERATE + ' --batch-size -3', 'batch_size must be a whole number in'),
  (GENERATE + ' --steps 0', 'steps must be a whole number in [1, 4096]'),
  (GENERATE + ' --steps 5000', 'steps must be a whole number in [1, 4096]'),
  (GENERATE + ' --temperature nan', 'temperature must be a finite number in'),
  (GENERATE + ' --temperature -1', 'temperature must be a finite number in'),
  (GENERATE + ' --temperature 1e30', 'temperature must be a finite number in'),
  (GENERATE + ' --top-k 0', 'top_k must be a whole number of at least 1'),
  (GENERATE + ' --top-p 0', 'top_p must be a finite number in (0, 1]'),
  (GENERATE + ' --top-p 1.01', 'top_p must be a finite number in (0, 1]'),
  (GENERATE + ' --guidance inf', 'guidance must be a finite number in'),
  (GENERATE + ' --guidance nan', 'guidance must be a finite number'),
  (GENERATE + ' --guidance-power 0', 'guidance_power must be a finite'),
  (GENERATE + ' --guidance-schedule x', "unknown guidance schedule 'x'"),
  (GENERATE + ' --schedule spiral', "unknown mask schedule 'spiral'"),
  (GENERATE + ' --rounding up', "rounding must be 'masked' or 'decided' or"),
  (GENERATE + ' --order spiral', "unknown order 'spiral'"),
  (GENERATE + ' --order critic', 'needs the scores of a token critic'),
  (GENERATE + ' --order critic --remask 0.5', 'so remask must be 0'),
  (GENERATE + ' --choice-temperature -1', 'choice_temperature must be'),
  (GENERATE + ' --logit-scale 0', 'logit_scale must be a finite number in (0,'),
  (GENERATE + ' --remask 1.5', 'remask must be a finite number in [0, 1]'),
  (GENERATE + ' --remask-limit x', "remask_limit must be 'cap' or 'rescale'"),
  ('generate {maskgit} --remask-order x', "remask_order must be 'random'"),
  (
    GENERATE + ' --acceptance-rate 0',
    'acceptance_rate must be a finite number in',
  ),
  (
    GENERATE + ' --acceptance-rate 1e-5 --num 9999',
    'at most 16777216 candidates',
  ),
  (GENERATE + ' --acceptance-rate 0.5 --gif a.gif', 'goes without --gif'),
  # classes
  (GENERATE + ' --labels 3', 'labels must lie in [0, 3); got 3. Classes: 0'),
  (GENERATE + ' --labels -1', 'labels must lie in [0, 3); got -1'),
  (GENERATE + ' --labels apple', "no class 'apple'. Classes: 0 0, 1 1"),
  (GENERATE + ' --labels 0.5', "no class '0.5'"),
  (GENERATE + ' --labels ,', '--labels needs at least one class'),
  ('generate {vae} --labels 1', 'a VAE has no classes'),
  ('generate {vae} --steps 3', 'a VAE has no sampling options'),
  (EDIT + ' --label 0,1', '--label must be one class'),
  (EDIT + ' --label ,', '--label must be one class'),
  # files to write
  (GENERATE + ' --out pic.xyz', "cannot be written as 'pic.xyz'"),
  (GENERATE + ' --out pic', "cannot be written as 'pic'"),
  (GENERATE + ' --out .', 'is a folder; give the name of a file'),
  (GENERATE + ' --out {bad}/file/a.png', 'and no folder can be in it'),
  (GENERATE + ' --gif a.png2', 'an animation cannot be written as'),
  (GENERATE + ' --gif a.jpg', 'an animation cannot be written as'),
  (GENERATE + ' --gif a.gif --out a.gif', 'cannot both be a.gif'),
  (EDIT + ' --out deep/er/pic.xyz', "cannot be written as 'pic.xyz'"),
  (EDIT + ' --gif b.gif --out ./b.gif', 'cannot both be ./b.gif'),
  (PROBE + ' --out .', 'is a folder; give the name of a file'),
  # images and masks
  ('edit {maskgit} no.png --box 2,2,4,4', 'as an image: No such file'),
  ('edit {maskgit} {bad}/cut.png --box 2,2,4,4', 'cut.png cannot be read'),
  ('edit {maskgit} {bad}/lfs.png --box 2,2,4,4', 'a pointer of Git LFS'),
  ('edit {maskgit} {bad}/html.png --box 2,2,4,4', 'it is a web page'),
  ('edit {maskgit} {bad}/empty.png --box 2,2,4,4', 'it is empty'),
  ('edit {maskgit} {bad} --box 2,2,4,4', 'cannot be read as an image'),
  ('edit {maskgit} {bad}/floats.tif --box 2,2,4,4', 'its pixels are floats'),
  ('edit {maskgit} {image}', 'give either --mask or --box'),
  ('edit {maskgit} {image} --mask {bad}/small.png', 'got 4 x 6'),
  ('edit {maskgit} {image} --mask {bad}/html.png', 'it is a web page'),
  ('edit {maskgit} {image} --box 1,2,3', '--box takes four whole numbers'),
  ('edit {maskgit} {image} --box 1,2,3,4.5', '--box takes four whole number'),
  ('edit {maskgit} {image} --box 4,4,5,2', '--box must lie within the imag'),
  ('edit {maskgit} {image} --box=-1,0,2,2', '--box must lie within the imag'),
  ('edit {maskgit} {image} --box 0,0,0,2', '--box must lie within the imag'),
  ('edit {maskgit} {image} --box 9999999999999999999,0,1,1', 'lie within'),
  (EDIT + ' --dilate -1', 'dilate must be a whole number in [0, 4096]'),
  (EDIT + ' --dilate 99999', 'dilate must be a whole number in [0, 4096]'),
  ('outpaint {maskgit} {image}', 'numbers of pixels, not all 0'),
  ('outpaint {maskgit} {image} --left -1', 'left must be a whole number in'),
  ('outpaint {maskgit} {image} --top 99999999999', 'top must be a whole'),
  ('reconstruct {tokenizer} {bad}/dot.png', 'is smaller than 2 x 2 pixels'),
  ('reconstruct {tokenizer} {bad}/lfs.png', 'a pointer of Git LFS'),
  # latents
  ('mixture {tokenizer}', 'this run has a VQVAE'),
  ('mixture {vae} --components 0', 'components must be a whole number of at'),
  ('mixture {vae} --components 99', 'needs between 1 and 48 components'),
  ('mixture {vae} --limit 0', 'limit must be a whole number of at least 1'),
  ('mixture {vae} --split test', "has no split 'test'; it has train"),
  ('mixture {vae} --seed 4294967296', 'seed must be a whole number in'),
  ('interpolate {vae} {image} {image} --steps 1', 'steps must be a whole'),
  ('interpolate {vae} {image} {image} --steps 99999999', 'steps must be'),
  ('interpolate {vae} {image} {bad}/small.png', 'resize or crop it'),
  (
    'interpolate {vae} {bad}/small.png {bad}/small.png',
    'the model takes images (8, 8, 1)',
  ),
  # data
  (TOKENIZE + ' --passes 0', 'passes must be a whole number of at least 1'),
  (TOKENIZE + ' --passes 2', 'passes would all be the same'),
  (TOKENIZE + ' --batch-size -1', 'batch_size must be a whole number of at'),
  (TOKENIZE + ' --seed -1', 'seed must be a whole number in'),
  (TOKENIZE + ' --split a/b=train', "needs a plain name such as train; got 'a"),
  (TOKENIZE + ' --split train[9', 'needs a plain name such as train'),
  (TOKENIZE + ' --split train=train[9:3]', 'must hold at least one of the 48'),
  (TOKENIZE + ' --split train=train[:99]', 'must lie within the 48 examples'),
  (TOKENIZE + ' --split train=val', "has no split 'val'; it has train"),
  ('tokenize {maskgit} --data {source} --out tokens', 'this run holds a prior'),
  ('tokenize {vae} --data {source} --out tokens', 'this run holds none'),
  ('tokenize {tokenizer} --data npz --out tokens', 'a source must be one of'),
  ('tokenize {tokenizer} --data npz:{bad}/no.npz --out tokens', 'no.npz'),
  ('tokenize {tokenizer} --data npz:{bad}/cut.npz --out tokens', 'is cut off'),
  ('tokenize {tokenizer} --data npz:{bad}/lfs.npz --out tokens', 'Git LFS'),
  ('tokenize {tokenizer} --data npz:{bad}/html.npz --out tokens', 'web page'),
  ('tokenize {tokenizer} --data npz:{bad}/empty.npz --out tokens', 'is empty'),
  ('tokenize {tokenizer} --data npz:{bad}/objects.npz --out c', 'pickled obj'),
  ('tokenize {tokenizer} --data npz:{bad}/floats.npz --out c', 'has float64'),
  ('tokenize {tokenizer} --data npz:{bad}/ints.npz --out c', 'has int64'),
  ('tokenize {tokenizer} --data npz:{bad}/flat.npz --out c', 'has uint8 [8, 8'),
  ('tokenize {tokenizer} --data npz:{bad}/none.npz --out c', 'be a non-empty'),
  ('tokenize {tokenizer} --data npz:{bad}/names.npz --out c', 'be integers [6'),
  ('tokenize {tokenizer} --data npz:{bad}/halves.npz --out c', 'has float64 ['),
  ('tokenize {tokenizer} --data npz:{bad}/few.npz --out c', 'has int64 [5]'),
  ('tokenize {tokenizer} --data npz:{bad}/negative.npz --out c', 'be negative'),
  ('tokenize {tokenizer} --data npz:{bad}/unnamed.npz --out c', 'has photos'),
  ('tokenize {tokenizer} --data npz:{bad}/channels.npz --out c', '1 or 3 chan'),
  ('tokenize {tokenizer} --data folder:{bad}/nothing --out c', 'it holds none'),
  ('tokenize {tokenizer} --data folder:{bad}/no_images --out c', '1 file'),
  ('tokenize {tokenizer} --data folder:{bad}/nowhere --out c', 'is nothing at'),
  ('tokenize {tokenizer} --data folder:{bad}/file --out c', 'there is a file'),
  ('tokenize {tokenizer} --data tfds:no_such_set --out c', 'no data set'),
  (
    'tokenize {tokenizer} --data tokens:{bad}/nothing --out c',
    'holds no tokens',
  ),
  ('tokenize {tokenizer} --data {source} --out {bad}/file', 'is a file; give'),
  ('tokenize {tokenizer} --data {source} --out {bad}/no_images', 'not empty'),
  ('probe {tokenizer} --data npz:{bad}/unlabelled.npz', 'needs labelled imag'),
  (PROBE + ' --shots 0', 'shots must be a sequence, each a whole number of at'),
  (PROBE + ' --shots 17', 'shots must be between 1 and 16'),
  (PROBE + ' --draws 0', 'draws must be a whole number in [1, 10000]'),
  (PROBE + ' --pool 0', 'cells must be a whole number of at least 1'),
  (PROBE + ' --limit -1', 'limit must be a whole number of at least 1'),
  # checkpoints of others
  ('convert taming-vqgan no.ckpt --out run', 'no.ckpt'),
  ('convert taming-vqgan {bad} --out run', 'bad'),
  ('convert taming-vqgan {bad}/lfs.ckpt --out run', 'a pointer of Git LFS'),
  ('convert taming-vqgan {bad}/html.ckpt --out run', 'it is a web page'),
  ('convert taming-vqgan {bad}/empty.ckpt --out run', 'it is empty'),
  ('convert taming-vqgan {bad}/zip.ckpt --out run', 'zip.ckpt'),
  ('convert llamagen-vq {bad}/cut.safetensors --out run', 'cut.safetensors'),
  ('convert llamagen-vq {bad}/half.safetensors --out run', 'half.safetensors'),
  ('convert maskgit --out run', 'is released as two files'),
  ('convert vit-vqgan {image} --out run', 'it is a PNG image'),
  ('convert vit-vqgan {image} --out {bad}', 'exists already'),
]


def one_line(text: str) -> str:
  """Returns the only line; notes and warnings apart."""
  lines = [
    line
    for line in text.splitlines()
    if not line.startswith(('warning: ', 'note: '))
  ]
  assert len(lines) == 1, text
  return lines[0]


@pytest.mark.parametrize(('command', 'message'), COMMANDS)
def test_commands(command, message, paths, load, tmp_path, monkeypatch, capsys):
  sound = {paths[name] for name in ('tokenizer', 'maskgit', 'vae')}
  monkeypatch.setattr(
    vq_jax, 'load', lambda f: load(f) if f in sound else uncached(f)
  )
  uncached = load.__wrapped__
  monkeypatch.chdir(tmp_path)
  argv = [arg.format(**paths) for arg in command.split()]
  assert cli.main(argv) == 1
  captured = capsys.readouterr()
  said = one_line(captured.err)
  assert said.startswith('error: ') and message in said
  assert captured.out == '' and not list(tmp_path.iterdir())


USAGE = [
  ('generate', 'RUN'),
  ('generate {maskgit} --num x', "--num: invalid int value: 'x'"),
  ('generate {maskgit} --num 2.5', "--num: invalid int value: '2.5'"),
  ('generate {maskgit} --steps nan', "--steps: invalid int value: 'nan'"),
  ('generate {maskgit} --temperature a', 'invalid float value'),
  ('generate {maskgit} --colour red', 'unrecognized arguments: --colour red'),
  ('paint {maskgit}', "invalid choice: 'paint'"),
  ('convert other-model a.ckpt --out run', "invalid choice: 'other-model'"),
  ('probe {tokenizer} --data x --shots 1,b', 'give numbers such as 1,5,10'),
  ('probe {tokenizer}', '--data'),
]


@pytest.mark.parametrize(('command', 'message'), USAGE)
def test_usage(command, message, paths, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(SystemExit) as exit_info:
    cli.main([arg.format(**paths) for arg in command.split()])
  assert exit_info.value.code == 2
  said = capsys.readouterr().err.splitlines()[-1]
  assert said.startswith('vqjax') and message in said
  assert not list(tmp_path.iterdir())


GREY = np.zeros((2, 8, 8, 1), np.uint8)
CODES = np.zeros((1, 4, 4), int)
MASK = np.ones((8, 8), bool)


def generate(*rng, **options):
  return lambda m: m.prior.generate(*(rng or (0,)), **options)


def sampler(**options):
  return lambda m: samplers.with_options(m.prior.info.sampler, options)


def edit(image=GREY, mask=MASK, rng=0, **options):
  return lambda m: m.prior.edit(rng, image, mask, **options)


def outpaint(**options):
  return lambda m: m.prior.outpaint(0, GREY, **options)


def encode(images):
  return lambda m: m.tokenizer.encode(images)


def decode(indices):
  return lambda m: m.tokenizer.decode(indices)


def opened(folder):
  return lambda m: data.open_source(f'tokens:{m.folder}/{folder}')


def complete(indices, known):
  return lambda m: m.prior.complete(0, indices, known)


KEY = 'key must be a JAX key, such as jax.random.key(0), or a seed'
LABELS = 'labels must be classes, by number (whole, from 0) or by name'
CALLS = [
  # randomness
  (generate(None), KEY),
  (generate(3.0), KEY),
  (generate('0'), KEY),
  (generate(True), KEY),
  (generate([0, 1]), KEY),
  (generate(np.zeros((9, 9))), KEY),
  (generate(np.random.default_rng(0)), KEY),
  (generate(jnp.zeros(3, jnp.uint32)), KEY),
  (generate(jnp.zeros(4, jnp.uint32)), KEY),
  (lambda m: m.prior.generate(jax.random.split(jax.random.key(0))), KEY),
  (generate(-1), 'the seed must be a whole number in [0, 4294967295]; got -1'),
  (generate(2**32), 'the seed must be a whole number in [0, 4294967295]'),
  (generate(10**5000), 'the seed must be a whole number in'),
  # classes and numbers of images
  (generate(labels=['apple']), "no class 'apple'"),
  (generate(labels='apple'), "no class 'apple'"),
  (generate(labels=[0, 'apple']), "no class 'apple'"),
  (generate(labels=[0.9, 1.9]), LABELS),
  (generate(labels=True), LABELS),
  (generate(labels=[True, 1]), LABELS),
  (generate(labels=[]), LABELS),
  (generate(labels=[[0], 'a']), LABELS),
  (generate(labels=[[0, 1], [2]]), LABELS),
  (generate(labels={0}), LABELS),
  (generate(labels=b'a'), LABELS),
  (generate(labels=10**30), LABELS),
  (generate(labels=np.zeros((50, 50))), LABELS),
  (generate(labels=[[0, 1]]), 'labels must be one class per image'),
  (generate(labels=[0, 1], num=3), 'labels must be one class per image, [3]'),
  (generate(labels=2**40), 'labels must lie in [0, 3); got 1099511627776'),
  (generate(num=0), 'num must be a whole number in [1, 16777216]; got 0'),
  (generate(num=2.0), 'num must be a whole number in [1, 16777216]; got 2.0'),
  (generate(num='2'), "num must be a whole number in [1, 16777216]; got '2'"),
  (generate(num=True), 'num must be a whole number in'),
  (generate(num=10**18), 'num must be a whole number in'),
  (generate(batch_size=None), 'batch_size must be a whole number in'),
  # options of the sampler
  (sampler(steps=2.5), 'steps must be a whole number in [1, 4096]; got 2.5'),
  (sampler(steps='3'), "steps must be a whole number in [1, 4096]; got '3'"),
  (sampler(temperature=np.nan), 'temperature must be a finite number'),
  (sampler(temperature=10**400), 'temperature must be a finite number'),
  (sampler(temperature=None), 'temperature must be a finite number in'),
  (sampler(guidance=np.inf), 'guidance must be a finite number in'),
  (sampler(guidance=[1.0]), '1000000]; got [1.0]'),
  (sampler(order=None), 'an instance of Order; got None'),
  (sampler(order=['random']), "an instance of Order; got ['random']"),
  (sampler(remask=True), 'remask must be a finite number in [0, 1]; got True'),
  (sampler(tempertaure=1), "unknown sampling option 'tempertaure'"),
  (sampler(cache=False), "unknown sampling option 'cache'"),
  # images
  (encode(GREY.astype(np.int32)), 'images must be uint8 in [0, 255] or float'),
  (encode(GREY[0, ..., 0]), 'images must be [B, H, W, 1], with one grey'),
  (encode(GREY[0]), 'images must be [B, H, W, 1], with one grey channel; got'),
  (encode(GREY.repeat(3, axis=-1)), 'one grey channel; got (2, 8, 8, 3)'),
  (encode(GREY[:0]), 'one grey channel; got (0, 8, 8, 1)'),
  (encode(None), 'one grey channel; got ()'),
  (encode('a.png'), 'one grey channel; got ()'),
  (encode([GREY[0], GREY[1, :4]]), 'images must be one array'),
  (encode(GREY + 255.0), 'float images must lie in [0, 1]; got 255 to 255'),
  (encode(GREY - 0.1), 'float images must lie in [0, 1]; got -0.1'),
  (encode(GREY * np.nan), 'float images must lie in [0, 1]; got nan'),
  (encode(GREY.astype(complex)), 'images must be uint8 in [0, 255] or float'),
  (encode(GREY.astype(object)), 'images must be uint8 in [0, 255] or float'),
  (encode(GREY[:, :7]), 'multiples of 2'),
  (lambda m: m.tokenizer.reconstruct(GREY + 255.0), 'got 255 to 255. Divide'),
  (lambda m: m.vae.preprocess(GREY[0, :4]), 'the model takes images (8, 8, 1)'),
  (lambda m: m.vae.preprocess(GREY[:, :, :, 0]), 'an image must be [H, W]'),
  (lambda m: m.vae.preprocess('no.png'), 'no.png cannot be read as an image'),
  (lambda m: m.vae.reconstruct(GREY * np.nan), 'float images must lie in'),
  # codes
  (decode(CODES + 36), 'indices must lie in [0, 16); got values from 36 to 36'),
  (decode(CODES - 1), 'Tokens that are still masked cannot be decoded'),
  (decode(CODES * 1.0), 'indices must be integers [B, h, w]; got float64'),
  (decode(CODES > 0), 'indices must be integers [B, h, w]; got bool'),
  (decode(CODES[0]), 'indices must be integers [B, h, w]; got int64 (4, 4)'),
  (decode('codes'), 'indices must be integers [B, h, w]; got'),
  (decode([[0], [0, 1]]), 'this autoencoder has 1 token grid(s)'),
  (decode((CODES, CODES)), 'this autoencoder has 1 token grid(s)'),
  (complete(CODES, CODES), 'known must be bool of the shape of the indices'),
  (complete(CODES, CODES[0] > 0), 'known must be bool of the shape of the ind'),
  (complete(CODES + 99, CODES == 0), 'indices must lie in [0, 16)'),
  (complete(CODES * 1.0, CODES > 0), 'indices must be integers'),
  (complete(CODES[:, :3], CODES[:, :3] > 0), 'this run needs 4 x 4 tokens'),
  # edits
  (edit(mask=MASK * 1), 'mask must be bool [8, 8] or [2, 8, 8], True where'),
  (edit(mask=MASK[:4]), 'anew; got bool (4, 8)'),
  (edit(mask=None), 'anew; got object ()'),
  (edit(mask=np.stack([MASK] * 3)), 'anew; got bool (3, 8, 8)'),
  (edit(image=GREY[0, ..., 0]), 'images must be [B, H, W, 1] or [H, W, 1]'),
  (edit(image=GREY + 2.0, mask=~MASK), 'float images must lie in [0, 1]; got'),
  (edit(rng=None), KEY),
  (edit(label='apple'), "no class 'apple'"),
  (edit(label=7), 'labels must lie in [0, 3); got 7'),
  (edit(dilate=0.5), 'dilate must be a whole number in [0, 4096]; got 0.5'),
  (edit(sampler=1), 'sampler must be a MaskGITSampler or an'),
  (generate(sampler=samplers.MaskGITSampler), 'sampler must be a MaskGIT'),
  (edit(batch_size=0), 'batch_size must be a whole number of at least 1'),
  (edit(keep_pixels=1), 'keep_pixels must be True or False; got 1'),
  (edit(trace='yes'), "trace must be True or False; got 'yes'"),
  (outpaint(), 'numbers of pixels, not all 0'),
  (outpaint(left=True), 'left must be a whole number in [0, 16384]; got True'),
  (outpaint(left=np.nan), 'left must be a whole number in [0, 16384]; got nan'),
  (lambda m: m.tokenizer.edit(0, GREY, MASK), 'an autoencoder without a prior'),
  # samplers
  (lambda m: samplers.MaskGITSampler(order='spiral'), "unknown order 'spiral'"),
  (
    lambda m: samplers.MaskGITSampler(order=samplers.orders.Halton),
    'order must be a string or an instance of Order; got <class',
  ),
  (lambda m: samplers.MaskGITSampler(remask=None), 'remask must be a finite'),
  (lambda m: samplers.MaskGITSampler(schedule='x'), 'unknown mask schedule'),
  (lambda m: samplers.MaskGITSampler(schedule=3), 'a string or a function'),
  (lambda m: samplers.Guidance(schedule='linear'), 'schedule must be a functi'),
  (
    lambda m: samplers.Guidance(schedule=samplers.guidance.PowerCosine),
    'schedule must be a function; got the class PowerCosine',
  ),
  (
    lambda m: samplers.MaskGITSampler(
      schedule=lambda ratio, total: total * np.nan
    ).masked_counts(9),
    'a schedule must give the fraction that stays masked; got NaN at 1 of 8',
  ),
  (lambda m: samplers.orders.Halton(roll=1), 'roll must be True or False'),
  (lambda m: samplers.AutoregressiveSampler(top_k=0.5), 'top_k must be a whol'),
  (
    lambda m: samplers.rejection_sample(None, None, [0.5], 1, batch_size=1),
    'labels must be int [num], one for each image; got [0.5]',
  ),
  (
    lambda m: samplers.rejection_sample(None, None, [0], 1e-9, batch_size=1),
    'acceptance_rate must be a finite number in [1e-05, 1]; got 1e-09',
  ),
  (
    lambda m: samplers.rejection_sample(None, None, [0], 1, batch_size=0.5),
    'batch_size must be a whole number of at least 1; got 0.5',
  ),
  # latents
  (lambda m: m.tokenizer.interpolate(GREY[0], GREY[1]), 'run has a VQVAE'),
  (lambda m: m.vae.interpolate(GREY[0], GREY[1], steps=1), 'steps must be a'),
  (lambda m: m.vae.decode(np.zeros((1, 4))), '3]; got (1, 4)'),
  (lambda m: m.vae.decode(np.zeros(3)), 'one row for each image'),
  (lambda m: m.vae.decode([['a'] * 3]), 'latents must be float'),
  (lambda m: m.vae.decode(np.full((1, 3), np.nan)), 'latents must be finite'),
  (lambda m: mixture.fit_mixture(np.full((3, 2), np.inf), 1), 'be finite'),
  (lambda m: mixture.fit_mixture(np.zeros((3, 2)), 2.5), 'components must'),
  (lambda m: mixture.fit_mixture(np.zeros((3, 2)), 1, seed=-1), 'seed must'),
  # data
  (lambda m: data.ArraySource(GREY * 1.0), 'images must be a non-empty uint8'),
  (lambda m: data.ArraySource(GREY, [0, 2**40]), 'labels must be the numbers'),
  (lambda m: data.open_source('images/'), 'a source must be one of tfds:'),
  (opened('list_tokens'), 'holds no tokens: tokenizer.json cannot be read'),
  (opened('started_tokens'), 'are not complete; run the command that makes'),
  (opened('empty_tokens'), 'the description of the tokens in '),
  (
    lambda m: data.train_batches(
      data.ArraySource(GREY), batch_size=True, seed=0
    ),
    'batch_size must be a whole number of at least 1; got True',
  ),
  (
    lambda m: data.eval_batches(
      data.ArraySource(GREY), batch_size=1, limit=0.5
    ),
    'limit must be a whole number of at least 1 or None; got 0.5',
  ),
  (lambda m: data.Resize(size=np.nan), 'size must be a whole number in'),
  (
    lambda m: tokenize.tokenize(
      m.tokenizer, 'tokens', source='x', shard_size=0.5
    ),
    'shard_size must be a whole number of at least 1; got 0.5',
  ),
  (lambda m: probe.probe(m.tokenizer, 'x', penalty=np.nan), 'penalty must'),
  # image files
  (lambda m: images_lib.save_image('a.xyz', GREY[0]), 'cannot be written as'),
  (lambda m: images_lib.save_image('a\0.png', GREY[0]), 'a zero character'),
  (lambda m: images_lib.save_image('.', GREY[0]), 'is a folder; give the name'),
  (lambda m: images_lib.save_animation('a.png2', GREY), 'cannot be written as'),
  (
    lambda m: images_lib.save_animation('a.gif', GREY, milliseconds=0),
    'milliseconds must be a whole number in [1, 60000]; got 0',
  ),
  (lambda m: images_lib.grid(GREY, columns=0), 'columns must be a whole numb'),
]  # fmt: skip


class Models:
  """The tiny models whose methods are called."""

  def __init__(self, paths, load):
    self.folder = paths['bad']
    self.tokenizer = load(paths['tokenizer'])
    self.prior = load(paths['maskgit'])
    self.vae = load(paths['vae'])


@pytest.mark.parametrize(('call', 'message'), CALLS)
def test_calls(call, message, paths, load, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises((ValueError, TypeError, OSError)) as error:
    call(Models(paths, load))
  said = str(error.value)
  assert message in said and len(said.splitlines()) == 1
  kind = TypeError if 'images must be uint8' in said else (ValueError, OSError)
  assert isinstance(error.value, kind)
  assert not list(tmp_path.iterdir())


TOKENIZER = 'configs/quickstart_tokenizer.py:smoke'
PRIOR = 'configs/quickstart_maskgit.py:smoke'
TRAINING = [
  ('configs/nope.py', '', 'no config file configs/nope.py'),
  (TOKENIZER, 'optim.lr=1', "unknown key of config.optim 'lr'"),
  (TOKENIZER, 'data.source=npz', 'a source must be one of'),
  (TOKENIZER, 'data.source=npz:{bad}/cut.npz', 'is cut off or damaged'),
  (TOKENIZER, 'data.source=folder:{bad}/nothing', 'it holds none'),
  (TOKENIZER, 'data.train_split=train[9:3]', 'must hold at least one'),
  (TOKENIZER, 'data.train_split=val', "no split 'val'"),
  (TOKENIZER, 'model.type=vqvea', "unknown autoencoder type 'vqvea'"),
  (TOKENIZER, 'optim.learning_rate=nan', 'learning_rate'),
  ('README.md', '', 'README.md is not a config: it is not a Python file'),
  ('tests/conftest.py', '', "it has no 'get_config'"),
  (TOKENIZER, 'optim.learning_rate=-1', 'must be a finite number of at least'),
  (TOKENIZER, 'data.batch_size=2.5', 'batch_size'),
  (TOKENIZER, 'data.batch_size=0', 'config.data.batch_size must be a whole'),
  (TOKENIZER, 'data.workers=-1', 'config.data.workers must be a whole number'),
  (TOKENIZER, 'seed=99999999999999999999999', 'config.seed must be a whole'),
  (TOKENIZER, 'train.total_steps=2.5', 'train.total_steps must be a'),
  (TOKENIZER, 'train.total_epochs=1e400', 'train.total_epochs must be a'),
  (TOKENIZER, 'train.num_images=-1', 'config.train.num_images must be a whole'),
  (TOKENIZER, 'parallel.mode=pjit', "config.parallel.mode must be 'jit' or"),
  (TOKENIZER, 'parallel.data=0', 'config.parallel.data must be -1 or a whole'),
  (TOKENIZER, 'parallel.data=99', 'must hold at most the 8 devices there are'),
  (TOKENIZER, 'loss.l2=-1', 'config.loss.l2 must be a finite number of at'),
  (
    TOKENIZER,
    'model.quantizer.decay=2',
    'config.model.quantizer.decay must be a finite',
  ),
  (TOKENIZER, 'model.quantizer.codebook_size=0', 'codebook_size must be a'),
  (
    TOKENIZER,
    'model.encoder.channels=0',
    'config.model.encoder.channels must be',
  ),
  (TOKENIZER, 'seed=-1', 'seed must be'),
  (TOKENIZER, 'train.total_steps=-5', 'steps'),
  (TOKENIZER, 'optim.b1=2', 'b1'),
  (PRIOR, 'autoencoder={bad}/nowhere', 'no such run folder: '),
  (PRIOR, 'autoencoder={bad}/no_config', 'it has no config.json'),
  (PRIOR, 'autoencoder={bad}/damaged', 'are damaged (step 8: '),
]


@pytest.mark.parametrize(('config', 'override', 'message'), TRAINING)
def test_training(config, override, message, paths, tmp_path, capsys):
  argv = ['--config', config, '--workdir', str(tmp_path / 'run')]
  if override:
    argv.append(f'--config.{override}'.format(**paths))
  assert train_main.main(argv) == 1
  said = [
    line
    for line in capsys.readouterr().err.splitlines()
    if line.startswith('error: ')
  ]
  assert len(said) == 1 and message in said[0]
  assert not list(tmp_path.rglob('checkpoints/*'))
