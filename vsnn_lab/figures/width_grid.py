"""Reconstructions row by row as the code widens."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from vsnn_lab._basics.checks import check_int
from vsnn_lab.figures.checks import check_curve, check_text
from vsnn_lab.figures.tiles import as_bytes, centers, check_images, tiles_figure

_SCALE = 1000  # pixels lie in [0, 1], so errors are a few thousandths
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
        A figure of at most 900 pixels width, its height according to the pictures.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If shapes differ, no width is given, or an error is missing.

    References:
        After figure 3 of Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.
    """
    originals = check_images("originals", originals)
    rebuilt = check_rebuilt("reconstructions", reconstructions, originals.shape)
    errors, title = check_curve("errors", errors), check_text("title", title)
    if errors and not rebuilt.keys() <= errors.keys():
        raise ValueError(
            f"errors must hold every width of the reconstructions, {list(rebuilt)}, got "
            f"{list(errors)}"
        )
    grid = np.stack([as_bytes(images) for images in (originals, *rebuilt.values())])
    labels = ["original", *(f"{w} unit{'s' if w > 1 else ''}" for w in rebuilt)]
    right = {"right": _ERRORS, "header": True} if errors else {}
    figure = tiles_figure(grid, labels, title=title, **right)
    if errors:
        note = {"showarrow": False, "xref": "paper", "x": 1, "xanchor": "left", "xshift": 12}
        head = note | {"yref": "paper", "y": 1, "yanchor": "bottom"}
        figure.add_annotation(head, text="MSE × 1000")
        rows = centers(len(grid), grid.shape[2])[1:]
        for row, width in zip(rows, rebuilt, strict=True):
            figure.add_annotation(note, y=row, text=f"{errors[width] * _SCALE:.1f}")
    return figure


def check_rebuilt(name: str, images: object, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Return images by number, ascending, all of one shape; or say what is wrong with them."""
    if not isinstance(images, Mapping):
        raise TypeError(f"{name} must map numbers of units to images, got {images!r}")
    if not images:
        raise ValueError(f"{name} must hold at least one width, got none")
    widths = {check_int(f"each width of {name}", key): key for key in images}
    return {w: check_images(f"{name}[{w}]", images[widths[w]], shape) for w in sorted(widths)}
