"""Texts in a figure: letters in their places, bars of the right height, marks below tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.subplots import make_subplots

from vsnn_lab.figures.text import Text, count_rows, draw_texts, letter_places

WORDS = st.text(st.sampled_from("ab \n"), max_size=60)


@given(WORDS, st.integers(1, 9))
def test_letters_stand_in_reading_order_each_in_a_place_of_its_own(text, columns):
    places = letter_places(text, columns)
    assert len(places) == len(text)
    assert places == sorted(set(places))
    for letter, (_, column) in zip(text, places, strict=True):
        assert column < columns or letter in " \n"
    # A line that ends begins another.
    assert all(places[at + 1][1] == 0 for at, letter in enumerate(text[:-1]) if letter == "\n")


def test_lines_break_between_words_and_a_long_word_where_it_must():
    rows = [row for row, _ in letter_places("ab cde fghijkl", 5)]
    assert rows == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]


def drawn(*texts: Text):
    figure = make_subplots(1, 1)
    draw_texts(figure, texts, 1)
    return figure.data


def test_bars_are_as_high_as_their_shares_and_nothing_stands_where_there_is_no_number():
    bars, _, letters = drawn(Text("title", ["ab", " cd", "e"], shares=[np.nan, 0.5, 1.0]))
    x, y = (np.array(each, float).reshape(2, 5)[:, :4] for each in (bars.x, bars.y))
    assert x.tolist() == [[2, 2, 5, 5], [5, 5, 6, 6]]
    heights = np.ptp(y, axis=1)
    assert heights[0] == pytest.approx(heights[1] / 2)
    assert list(letters.text) == ["<b>title</b>", "ab", "cd", "e"]
    assert list(letters.x) == [0, 0, 3, 5]
    assert list(letters.y) == [0, 1, 1, 1]


def test_tokens_that_differ_are_underlined_and_have_another_ink():
    _, lines, letters = drawn(Text("t", ["given", " a", "b\nc"], given=1, differs=frozenset({2})))
    assert [each for each in lines.x if each is not None] == [7, 9, 0, 1]
    assert list(letters.text) == ["<b>t</b>", "<i>given</i>", "a", "b", "c"]
    inks = list(letters.textfont.color)
    assert inks[3] == inks[4] != inks[2]
    assert len({*inks[:3]}) == 1


def test_what_is_too_long_ends_with_dots_and_texts_stand_below_each_other():
    texts = Text("a", ["x\n"] * 99), Text("b", ["<i>\0"])
    assert count_rows(texts) == 1 + 24 + 1 + 1 + 1
    letters = drawn(*texts)[2]
    assert list(letters.text).count("x") == 24
    assert list(letters.text)[-3:] == ["…", "<b>b</b>", "&lt;i&gt;\N{REPLACEMENT CHARACTER}"]
    assert list(letters.y)[-2:] == [26, 27]
