"""Reconstructions row by row as the code widens."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from vsnn_lab.figures.checks import check_curve, check_images, check_images_by_width
from vsnn_lab.figures.images import MSE_SCALE, tile_centers, to_bytes
from vsnn_lab.figures.labels import check_label
from vsnn_lab.figures.tiles import RIGHT, tiles_figure

_ERRORS = 104  # pixels of the screen for the column of errors


def width_grid(
    originals: np.ndarray | Tensor,
    reconstructions: Mapping[int, np.ndarray | Tensor],
    *,
    errors: Mapping[int, float] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw originals above their reconstructions at each width.

    All rows have one grey scale, from 0 to 1; what lies outside is clipped.

    Args:
        originals: Floats in [0, 1], shape (n, 1 or 3, height, width); a column each.
        reconstructions: The same shape at each width; a row each, widths ascending.
        errors: Mean square error per pixel at each of these widths, on whatever images it was
            measured; drawn times 1000 beside the row.
        title: Above the figure.

    Returns:
        A figure of at most 840 pixels width, its height according to the pictures.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If shapes differ, no width is given, or an error is missing.

    References:
        After figure 3 of Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.
    """
    first = check_images("originals", originals)
    rebuilt = check_images_by_width("reconstructions", reconstructions, first.shape)
    errors, title = check_curve("errors", errors), check_label("title", title)
    if errors and not rebuilt.keys() <= errors.keys():
        raise ValueError(
            f"errors must hold every width of the reconstructions, {list(rebuilt)}, got "
            f"{list(errors)}"
        )
    grid = np.stack([to_bytes(images) for images in (first, *rebuilt.values())])
    labels = ["original", *(f"{w} unit{'s' if w > 1 else ''}" for w in rebuilt)]
    right = _ERRORS if errors else RIGHT
    figure = tiles_figure(grid, labels, title=title, right=right, header=bool(errors))
    if errors:
        note = {"showarrow": False, "xref": "paper", "x": 1, "xanchor": "left", "xshift": 12}
        head = note | {"yref": "paper", "y": 1, "yanchor": "bottom"}
        figure.add_annotation(head, text="MSE × 1000")
        rows = tile_centers(len(grid), grid.shape[2])[1:]
        for row, width in zip(rows, rebuilt, strict=True):
            if row in figure.layout.yaxis.tickvals:
                figure.add_annotation(note, y=row, text=f"{errors[width] * MSE_SCALE:.1f}")
    return figure
