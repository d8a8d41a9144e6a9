"""Texts from outside as Plotly shows them: as they are, as short as there is room."""

from collections.abc import Sequence
from html import escape
from typing import Any

from vsnn_lab.figures.checks import check_text

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


def short_labels(names: Sequence[str], most: int) -> list[str]:
    """Return names of at most so many letters as labels, the middle of longer ones left out.

    Where two names would look alike, all have their number in front.

    Example:
        >>> short_labels(["SEED=0", "DATA=mnist WIDTH=16 SEED=1"], 16)
        ['SEED=0', 'DATA=mni… SEED=1']
    """
    short = [_without_middle(name, most) for name in names]
    if len({*short}) < len({*names}):
        numbered = ((f"{number} ", name) for number, name in enumerate(names, 1))
        short = [start + _without_middle(name, most - len(start)) for start, name in numbered]
    return [as_label(name) for name in short]


def _without_middle(name: str, most: int) -> str:
    most = max(most, 3)
    front = most // 2
    return name if len(name) <= most else f"{name[:front]}…{name[front + 1 - most :]}"


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
