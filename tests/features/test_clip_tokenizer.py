"""Texts become the tokens of OpenAI and of Hugging Face."""

import html
import json
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest

from vq_jax import features
from vq_jax.features import clip_tokenizer

# Written with `clip.simple_tokenizer` of clip-anytorch 2.6.0, in which NFC
# stood for `ftfy`.
GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'clip_tokens.json'
START, END = 49406, 49407


@pytest.mark.parametrize('text, want', json.loads(GOLDEN.read_text()))
def test_tokens_of_openai(text, want):
  (row,) = features.load_tokenizer(200)(text)
  assert row[: len(want) + 2].tolist() == [START, *want, END]
  assert not row[len(want) + 2 :].any()


def test_many_texts_are_rows_of_int32():
  tokens = features.load_tokenizer()(['a cat', '', 'a dog'])
  assert tokens.shape == (3, 77)
  assert tokens.dtype == np.int32
  np.testing.assert_array_equal(features.load_tokenizer()('a cat'), tokens[:1])


def test_long_texts_are_cut_with_a_warning():
  tokenizer = features.load_tokenizer()
  (fits,) = tokenizer('cat ' * 75)
  assert fits[-1] == END
  with pytest.warns(UserWarning, match='has 200 tokens, .* the first 75'):
    (cut,) = tokenizer('cat ' * 200)
  np.testing.assert_array_equal(cut, fits)


def test_what_is_no_text_is_refused():
  with pytest.raises(ValueError, match='must be a string; got 3'):
    features.load_tokenizer()(['a cat', 3])


def test_a_context_without_room_is_refused():
  with pytest.raises(ValueError, match='at least 3.*got 2'):
    features.load_tokenizer(2)


WITHOUT = """
import sys
sys.modules['tokenizers'] = None
from vq_jax import features
try:
  features.load_tokenizer()
except ValueError as error:
  assert "pip install 'vq_jax[clip]'" in str(error), error
else:
  raise AssertionError('no error')
"""


def test_only_the_tokenizer_needs_the_package_tokenizers():
  done = subprocess.run(
    [sys.executable, '-c', WITHOUT], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr


# Without what the tokenizer of Hugging Face alone does in another way: the last
# sigma of a word in capitals, a long s after an apostrophe, the separators
# \x1c ... \x1f at the ends, and special tokens.
WORDS = (
  'a photo of the cat 3.14 2,000 100% $5 #art @me | 8k — – … “quoted” ‘x’ ’s '
  "Dog's it's I'LL we've DON'T o'clock 're 'S Émile naïve ﬁne Straße İstanbul "
  'ß σ 日本語 猫 中文字符 한국어 한글 ไทย हिन्दी العربية עברית '
  '👍🏽 👩‍👩‍👧 😀 🇩🇪 ✨ '
  '&amp; &lt;b&gt; &amp;amp; &#39; &nbsp; &eacute; ½ ² Ⅷ ① １２３ ＡＢＣ '
  "_under_score_ C++ a/b http://x.y/?q=1&z=2 :-) !!! ?! ' '' \" K Å ǆ 𝒜 𐐀 ﷺ "
  'antidisestablishmentarianism xyzzyqwv'
).split()
SIGNS = (
  *('\t', '\n', '\r\n', '\u00a0', '\u2003', '\u200b', '\u200d', '\ufeff'),
  *('\x00', '\x07', '\x1b[31m', '\x85', 'e\u0301', 'a\u0323\u0302', '\u0301'),
)


def odd_texts(count):
  rng = random.Random(0)
  yield from ('', '   ', *WORDS, *SIGNS, ' '.join(['word'] * 200))
  for _ in range(count):
    words = rng.choices([*WORDS, *SIGNS], k=rng.randint(1, 12))
    yield rng.choice([' ', '', '  ']).join(words)


def test_tokens_of_hugging_face():
  transformers = pytest.importorskip('transformers')
  ours = features.load_tokenizer(1000)
  merges = clip_tokenizer.read_merges()
  theirs = transformers.CLIPTokenizer(
    vocab=clip_tokenizer.vocabulary(merges), merges=merges
  )
  texts = list(odd_texts(1000))
  assert len(texts) > 1000
  for text, row in zip(texts, ours(texts), strict=True):
    want = theirs(html.unescape(html.unescape(text)))['input_ids']
    assert row[: len(want)].tolist() == want, ascii(text)
    assert not row[len(want) :].any()
