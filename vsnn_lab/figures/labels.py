"""Texts from outside as Plotly shows them: as they are, as short as there is room."""

from collections.abc import Sequence
from html import escape
from typing import Any

from vsnn_lab.figures.checks import check_text
from vsnn_lab.figures.names import short_names

LETTER = 7.5  # pixels of the screen across a letter of the template's font, on average
LINE = 18  # and from one line of it to the next


def as_label(text: str) -> str:
    """Return a text that Plotly shows as it is: no markup, and no formula.

    Example:
        >>> as_label("<b>a</b> & $x$")
        '&lt;b&gt;a&lt;/b&gt; &amp; &#36;x&#36;'
    """
    return escape(text, quote=False).replace("$", "&#36;")


def check_label(name: str, text: Any) -> str | None:
    """Return a text as Plotly shows it as it is, or None; or say what there is instead."""
    text = check_text(name, text)
    return None if text is None else as_label(text)


def short_labels(names: Sequence[str], letters: int) -> list[str]:
    """Return names as labels, at most so many letters long; see `short_names`."""
    return [as_label(name) for name in short_names(names, letters)]


def spaced(places: Sequence[float], room: float) -> list[int]:
    """Return which of ascending places to label so that each label has its room.

    Example:
        >>> spaced([0, 1, 2, 3, 4], 2)
        [0, 2, 4]
    """
    chosen: list[int] = []
    for index, place in enumerate(places):
        if not chosen or place - places[chosen[-1]] >= room:
            chosen.append(index)
    return chosen
