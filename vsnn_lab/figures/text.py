"""Texts of a language model in a figure: letters in a grid, and under each token its mark."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import numpy as np
import plotly.graph_objects as go

from vsnn_lab.figures import style
from vsnn_lab.figures.labels import as_label
from vsnn_lab.figures.reader import Reader

COLUMNS, ROW = 70, 20  # letters in a row, and pixels of the screen from one row to the next
# Beside the palette of networks; under a token a bar is as high as the token surprises.
SURPRISE = "#c27a22"
_MOST_ROWS = 24  # of one text; a page more would push what is below it out of sight
_SIZE = 11  # pixels of a letter: a fixed-width one is 0.6 times as wide, and 70 have their room
_BASE, _BAR = 0.28, 0.36  # a bar's foot below the middle of its row, and its height, in rows


@dataclass(frozen=True)
class Text:
    """A text under its title.

    Attributes:
        title: What it is.
        tokens: The text of each token.
        given: Tokens at the beginning that were given.
        differs: Places of tokens that are marked.
        shares: Height of each token's bar in [0, 1], or no number; none without any.
    """

    title: str
    tokens: Sequence[str]
    given: int = 0
    differs: frozenset[int] = frozenset()
    shares: Sequence[float] = field(default=())


def letter_places(text: str, columns: int) -> list[tuple[int, int]]:
    """Return row and column of each letter of a text, broken between words where it can be.

    Example:
        >>> letter_places("ab cd", 4)
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    """
    places: list[tuple[int, int]] = []
    row = 0
    for line in text.split("\n"):
        rest = len(line) + 1  # with what ends it
        start = 0
        while rest:
            # A space may stand beyond the last column, and so may what ends the line.
            cut = rest
            if rest > columns + 1:
                cut = line.rfind(" ", start, start + columns + 1) + 1 - start
                cut = cut if cut > 0 else columns
            places += [(row, column) for column in range(cut)]
            row, start, rest = row + 1, start + cut, rest - cut
    return places[: len(text)]


def texts_shown(description: Mapping[str, Any], reader: Reader) -> list[Text]:
    """Return the texts that an instrument shows where its controls stand; most have none."""
    found = []
    for part in description["parts"]:
        if part["type"] == "continuation":
            tokens = part["by_width"]["tokens"]
            full, place = tokens[-1], reader.index[part["by"]]
            values = next(c for c in description["controls"] if c["name"] == part["by"])["values"]
            for which, kept in (("this", place), ("full", -1)):
                ids = zip(tokens[kept], full, strict=True)
                # The prompt is a token more at the beginning.
                other = {at for at, (one, same) in enumerate(ids, 1) if one[0] != same[0]}
                shown = [part["prompt"], *(text for _, text in tokens[kept])]
                title = f"at {which} width, {values[kept]}"
                found.append(Text(title, shown, given=1, differs=frozenset(other)))
        elif part["type"] == "passage":
            shares = (reader.at(part["source"]) / part["most"]).clip(0, 1)
            title = f"bits of surprise, a full bar {part['most']:.1f}, a blind guess"
            found.append(Text(title, part["texts"], shares=shares.tolist()))
    return found


def count_rows(texts: Sequence[Text]) -> int:
    """Return how many rows texts take, their titles and a row between two of them included."""
    return max(0, sum(_rows(text) + 2 for text in texts) - 1)


def draw_texts(figure: go.Figure, texts: Sequence[Text], column: int) -> None:
    """Draw texts below each other into a column of a figure."""
    top = 0
    words: list[tuple[int, int, str]] = []
    inks: list[str] = []
    bars: list[list[float | None]] = [[], []]
    lines: list[list[float | None]] = [[], []]
    for text in texts:
        words.append((top, 0, f"<b>{as_label(text.title)}</b>"))
        inks.append(style.TEXT_COLOR)
        top, rows = top + 1, _rows(text)
        for place, row, left, run in _placed_runs(text.tokens):
            if row >= rows:
                words.append((top + rows - 1, COLUMNS, "…"))
                inks.append(style.TEXT_COLOR)
                break
            at, right = top + row, left + len(run)
            if place in text.differs:
                _append(lines, [left, right], [at + _BASE + 0.1] * 2)
            if len(text.shares) and np.isfinite(text.shares[place]):
                low = at + _BASE + _BAR
                high = low - _BAR * float(text.shares[place])
                _append(bars, [left, left, right, right], [low, high, high, low])
            if run.strip():
                said, first = as_label(run.strip()), left + len(run) - len(run.lstrip())
                words.append((at, first, f"<i>{said}</i>" if place < text.given else said))
                inks.append(style.DIFFERENT if place in text.differs else style.TEXT_COLOR)
        top += rows + 1
    silent = {"hoverinfo": "skip", "showlegend": False, "cliponaxis": False, "connectgaps": False}
    filled = {"mode": "none", "fill": "toself", "fillcolor": SURPRISE}
    underlined = {"mode": "lines", "line": {"color": style.DIFFERENT, "width": 2}}
    figure.add_trace(go.Scatter(filled | silent, x=bars[0], y=bars[1]), 1, column)
    figure.add_trace(go.Scatter(underlined | silent, x=lines[0], y=lines[1]), 1, column)
    y, x, shown = zip(*words, strict=True)
    letters = {"family": "monospace", "size": _SIZE, "color": inks}
    spelled = {"mode": "text", "textposition": "middle right", "textfont": letters}
    figure.add_trace(go.Scatter(spelled | silent, x=x, y=y, text=shown), 1, column)
    bare = {"visible": False, "fixedrange": True}
    figure.update_xaxes(bare, range=[0, COLUMNS], row=1, col=column)
    figure.update_yaxes(bare, range=[count_rows(texts) - 0.3, -0.7], row=1, col=column)


def _rows(text: Text) -> int:
    places = letter_places("".join(text.tokens), COLUMNS)
    return min(_MOST_ROWS, places[-1][0] + 1 if places else 1)


def _append(path: list[list[float | None]], x: Sequence[float], y: Sequence[float]) -> None:
    path[0] += [*x, None]
    path[1] += [*y, None]


def _placed_runs(tokens: Sequence[str]) -> Iterator[tuple[int, int, int, str]]:
    """Yield the parts of tokens that stand in one row each: place, row, first column, letters."""
    places = iter(letter_places("".join(tokens), COLUMNS))
    for place, token in enumerate(tokens):
        spots = list(islice(places, len(token)))
        for row, run in groupby(zip(token, spots, strict=True), lambda each: each[1][0]):
            letters = list(run)
            yield place, row, letters[0][1][1], "".join(_seen(letter) for letter, _ in letters)


def _seen(letter: str) -> str:
    """Return a letter as one column shows it."""
    if letter.isspace():
        return " "
    return letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}"
