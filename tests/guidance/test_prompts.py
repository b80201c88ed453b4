"""Prompts are read as they are meant, and written back the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vq_jax import guidance


@pytest.mark.parametrize(
  'text, want',
  [
    ('a forest', ('a forest', 1.0, None)),
    (' a forest : 2 ', ('a forest', 2.0, None)),
    ('fog:-0.5:-.8', ('fog', -0.5, -0.8)),
    ('Title: a forest', ('Title: a forest', 1.0, None)),
    ('Title: a forest:2', ('Title: a forest', 2.0, None)),
    ('a:1:2:3', ('a:1', 2.0, 3.0)),
    (r'a clock at 12\:30', ('a clock at 12:30', 1.0, None)),
    (r'a clock at 12\:30:2', ('a clock at 12:30', 2.0, None)),
    ('a:nan', ('a:nan', 1.0, None)),
    ('日本の森:1e-1', ('日本の森', 0.1, None)),
  ],
)
def test_numbers_at_the_end_are_weight_and_stop(text, want):
  prompt = guidance.parse_prompt(text)
  assert (prompt.text, prompt.weight, prompt.stop) == want


def test_bars_separate_prompts_and_carets_phrases():
  story = guidance.parse_story(r'bears in the grass. | a forest:2 ^ a \| b|')
  assert [[p.text for p in phrase] for phrase in story] == [
    ['bears in the grass.', 'a forest'],
    ['a | b'],
  ]


@pytest.mark.parametrize('text', ['', ' ', 'a ^', '^ a', '|', ':2', 'a | :3'])
def test_empty_prompts_are_refused(text):
  with pytest.raises(ValueError, match='what the image should show'):
    guidance.parse_story(text)


def test_a_huge_weight_is_refused():
  with pytest.raises(ValueError, match='weight must be a finite number'):
    guidance.parse_prompt('a:1e9')


@given(
  st.text(min_size=1).filter(lambda text: text.strip() and '\0' not in text),
  st.floats(-100, 100, width=16),
  st.none() | st.floats(-5, 5, width=16),
)
def test_a_prompt_is_read_as_it_is_written(text, weight, stop):
  prompt = guidance.Prompt(text=text.strip(), weight=weight, stop=stop)
  found = guidance.parse_prompt(str(prompt))
  assert found.text == prompt.text
  assert found.weight == pytest.approx(weight, rel=1e-4)
  assert found.stop == (stop and pytest.approx(stop, rel=1e-4))
