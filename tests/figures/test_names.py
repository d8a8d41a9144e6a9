"""Names made short: within their room, distinct, and as they are where they fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsnn_lab.figures.names import short_names

PREFIXED = [f"a common beginning, number {number}" for number in range(70)]


@pytest.mark.parametrize(
    "names",
    [
        PREFIXED,
        [f"{name} and a common end" for name in PREFIXED],
        [f"{'x' * 40}{first}{'y' * 40}{last}" for first in range(7) for last in "abcdefghij"],
    ],
)
def test_seventy_names_that_differ_somewhere_stay_distinct(names):
    short = short_names(names, 12)
    assert len({*short}) == 70
    assert all(len(name) <= 12 for name in short)


@given(st.lists(st.text("ab", max_size=20), max_size=30), st.integers(4, 12))
def test_names_stay_distinct_and_what_fits_stays_as_it_is(names, letters):
    short = short_names(names, letters)
    assert len({*short}) == len({*names})
    for name, shown in zip(names, short, strict=True):
        assert len(shown) <= letters
        assert shown == name or len(name) > letters
