"""The tokenizer of CLIP: byte-level BPE of lower-cased text."""

import functools
import gzip
import html
import re
import unicodedata
import warnings
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
  import tokenizers

START, END = '<|startoftext|>', '<|endoftext|>'
# English contractions, words, digits, and runs of other signs. The long s is an
# s, because the expression of OpenAI ignores case.
_PIECES = r"'[sſ]|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
# White space of Unicode; Python's `\s` also has the separators of ASCII.
_SPACE = re.compile(r'[^\S\x1c-\x1f]+')
_END_OF_WORD = '</w>'


class Tokenizer:
  """Maps texts to tokens; see `load_tokenizer`.

  Attributes:
    context_length: tokens of a text, with those of its start and its end.
  """

  def __init__(self, context_length: int = 77):
    """Builds the tokenizer from the released merges.

    Args:
      context_length: see the class, at least 3.

    Raises:
      ValueError: if `context_length` is too small.
    """
    if context_length < 3:
      raise ValueError(
        'context_length must be at least 3, for the start, a token and the '
        f'end; got {context_length}.'
      )
    self.context_length = context_length
    self._bpe = _byte_level_bpe()
    self._ends = [self._bpe.token_to_id(text) or 0 for text in (START, END)]

  def __call__(self, texts: str | Sequence[str]) -> np.ndarray:
    """Returns the tokens of texts.

    The start token, the tokens of the text, the end token, and zeros. Of a text
    that is too long, the first tokens are kept, and a warning tells so.

    Args:
      texts: a text, or several.

    Returns:
      int32 [B, context_length].

    Raises:
      ValueError: if a text is no string.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    for text in texts:
      if not isinstance(text, str):
        raise ValueError(f'a text must be a string; got {text!r:.40}.')
    tokens = np.zeros((len(texts), self.context_length), np.int32)
    most = self.context_length - 2
    for row, text in zip(tokens, texts, strict=True):
      ids = self._bpe.encode(clean(text)).ids
      if len(ids) > most:
        warnings.warn(
          f'the text {text[:40]!r}... has {len(ids)} tokens, of which CLIP '
          f'reads the first {most}.',
          stacklevel=2,
        )
      ids = ids[:most]
      row[0], row[len(ids) + 1] = self._ends
      row[1 : len(ids) + 1] = ids
    return tokens


@functools.lru_cache(maxsize=4)
def load_tokenizer(context_length: int = 77) -> Tokenizer:
  """Returns the tokenizer of all released CLIPs.

  The ids are those of OpenAI's tokenizer, except that the library `ftfy` does
  not repair the text first: curly quotation marks, ligatures, full-width
  letters and control characters stay as they are. The tokenizer of Hugging Face
  leaves them too; it differs from both in HTML entities, which it keeps, in the
  last sigma of a Greek word in capitals, and in special tokens in capitals.

  Args:
    context_length: tokens of a text, 77 in all released models.

  Raises:
    ValueError: if the package `tokenizers` is not installed, or
      `context_length` is too small.

  Example:
    >>> from vq_jax import features
    >>> tokenizer = features.load_tokenizer()
    >>> tokenizer('a cat')[0, :4].tolist()
    [49406, 320, 2368, 49407]
  """
  return Tokenizer(context_length)


def clean(text: str) -> str:
  """Returns the text as CLIP reads it.

  HTML entities are replaced (twice, as `&amp;amp;` occurs on web pages),
  characters are composed (NFC), white space is one space, and letters are
  lower-case.
  """
  text = html.unescape(html.unescape(text))
  text = unicodedata.normalize('NFC', text).strip()
  return _SPACE.sub(' ', text).strip().lower()


def _byte_level_bpe() -> 'tokenizers.Tokenizer':
  """Builds the tokenizer, which does not add the start and the end."""
  try:
    import tokenizers
    from tokenizers import models
    from tokenizers import pre_tokenizers
  except ImportError as error:
    raise ValueError(
      'the tokenizer of CLIP needs the package tokenizers: run '
      "`pip install 'vq_jax[clip]'`."
    ) from error
  merges = read_merges()
  bpe = tokenizers.Tokenizer(
    models.BPE(
      vocab=vocabulary(merges), merges=merges, end_of_word_suffix=_END_OF_WORD
    )
  )
  bpe.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Split(
        tokenizers.Regex(_PIECES), behavior='removed', invert=True
      ),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
  )
  bpe.add_special_tokens([START, END])
  return bpe


def read_merges() -> list[tuple[str, str]]:
  """Returns the pairs of symbols that are merged, the most frequent first."""
  file = resources.files('vq_jax.features') / 'clip_bpe' / 'merges.txt.gz'
  lines = gzip.decompress(file.read_bytes()).decode().splitlines()
  pairs = (line.split() for line in lines)
  return [(first, second) for first, second in pairs]


def vocabulary(merges: Sequence[tuple[str, str]]) -> dict[str, int]:
  """Returns symbol -> id.

  The 256 bytes, the same bytes at the end of a word, one symbol for each merge
  in their order, the start and the end.
  """
  symbols = _byte_symbols()
  symbols += [symbol + _END_OF_WORD for symbol in symbols]
  symbols += [''.join(pair) for pair in merges]
  return {symbol: i for i, symbol in enumerate([*symbols, START, END])}


def _byte_symbols() -> list[str]:
  """Returns the 256 characters that stand for bytes, in the order of their ids.

  Printable bytes stand for themselves and come first.
  """
  printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
  others = 256 - len(printable)
  return [*map(chr, printable), *(chr(256 + i) for i in range(others))]
