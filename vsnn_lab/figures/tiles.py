"""Rows and columns of pictures as one picture: one scale, sharp pixels, aspect kept."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from vsnn_lab.figures import style
from vsnn_lab.figures.images import add_opacity, png, tile, tile_centers

_LARGEST = 96  # pixels of the screen that a picture's longer side takes at most
_LEFT, RIGHT, _TOP, _BOTTOM = 84, 16, 12, 12
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
    _, count, height, width, _ = grid.shape
    pixels = tile(add_opacity(grid))
    tall, wide = pixels.shape[:2]
    scale = min((style.PAGE - _LEFT - right) / wide, _LARGEST / max(height, width))
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
    figure.update_yaxes(
        axes["yaxis"] | {"tickvals": tile_centers(len(rows), height), "ticktext": list(rows)},
        ticklabelstandoff=6,
    )
    figure.update_xaxes(axes["xaxis"])
    if columns:
        labels = {"tickvals": tile_centers(count, width), "ticktext": list(columns)}
        heading = {"text": columns_title, "standoff": 4}
        figure.update_xaxes(labels, side="top", showticklabels=True, title=heading)
    return figure
