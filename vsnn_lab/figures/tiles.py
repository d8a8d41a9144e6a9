"""Rows and columns of pictures as one picture: one scale, sharp pixels, aspect kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from vsnn_lab.figures import style
from vsnn_lab.figures.images import add_opacity, png, tile, tile_centers
from vsnn_lab.figures.labels import LETTER, LINE, spaced

_LARGEST = 96  # pixels of the screen that a picture's longer side takes at most
_LEFT, RIGHT, _TOP, _BOTTOM = 84, 16, 12, 12
_NARROWED = 0.6  # of its size, to which a page may narrow the pictures
_LABELS = 44  # pixels of the screen for a line of labels and its title


def tiles_figure(
    grid: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str] = (),
    *,
    columns_title: str | None = None,
    title: str | None = None,
    right: int = RIGHT,
    header: bool = False,
) -> go.Figure:
    """Draw a grid of pictures with labels, as large as fits into 840 pixels.

    Where pictures are so small that labels would touch, every second one or fewer stand.

    Args:
        grid: uint8, shape (rows, columns, height, width, channels).
        rows: A label left of each row.
        columns: A label above each column, or none.
        columns_title: Above those.
        title: Above the figure.
        right: Pixels of the screen kept free on the right.
        header: Keep a line free above the pictures.

    Returns:
        A figure whose size follows from the pictures'; its axes count their pixels.
    """
    height, width = grid.shape[2:4]
    pixels = tile(add_opacity(grid))
    tall, wide = pixels.shape[:2]
    scale = min((style.PAGE - _LEFT - right) / wide, _LARGEST / max(height, width))
    least = scale * _NARROWED
    above = (36 if title else 0) + (_LABELS if columns else 24 if header else _TOP)
    figure = go.Figure(go.Image(source=png(pixels), hoverinfo="skip"))
    figure.update_layout(
        template=style.TEMPLATE,
        title=title,
        width=round(wide * scale) + _LEFT + right,
        height=round(tall * scale) + above + _BOTTOM,
        margin={"l": _LEFT, "r": right, "t": above, "b": _BOTTOM},
    )
    axes = style.pixel_axes()
    labels = label_ticks(rows, height, LINE / least)
    figure.update_yaxes(axes["yaxis"] | labels, ticklabelstandoff=6)
    figure.update_xaxes(axes["xaxis"])
    if columns:
        labels = label_ticks(columns, width, (max(map(len, columns)) + 1) * LETTER / least)
        heading = {"text": columns_title, "standoff": 4}
        figure.update_xaxes(labels, side="top", showticklabels=True, title=heading)
    return figure


def label_ticks(labels: Sequence[str], size: int, room: float) -> dict[str, list[Any]]:
    """Return labels in the middle of pictures, those that have so many pixels of them."""
    middles = tile_centers(len(labels), size)
    stand = spaced(middles, room)
    return {"tickvals": [middles[i] for i in stand], "ticktext": [labels[i] for i in stand]}
