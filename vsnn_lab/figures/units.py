"""What single units of a code do to the picture."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from vsnn_lab._basics.checks import check_collection, check_int, check_number
from vsnn_lab.figures.checks import (
    as_array,
    check_floats,
    check_images,
    check_images_by_width,
)
from vsnn_lab.figures.diverging import add_color_bar, check_limit, colorize, symmetric_limit
from vsnn_lab.figures.images import to_bytes
from vsnn_lab.figures.labels import check_label
from vsnn_lab.figures.tiles import tiles_figure

_BAR = 96  # pixels of the screen for the scale
_CHANGE = "change of the pixel, pixels in [0, 1]"


def unit_differences(
    originals: np.ndarray | Tensor,
    differences: Mapping[int, np.ndarray | Tensor],
    *,
    limit: float | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw what each unit adds: the reconstruction with it minus the one without.

    One scale for all, symmetric around zero: grey where the unit changes nothing, orange where it
    brightens, blue where it darkens.

    Args:
        originals: Floats in [0, 1], shape (n, 1 or 3, height, width); a column each.
        differences: By unit i, the reconstructions at width i minus those at width i - 1, the
            same shape; a row each. Of colour images the mean over the channels is drawn.
        limit: Change in pixel units that has the last colour; larger ones share it. By default
            the largest there is, so that nothing is clipped.
        title: Above the figure.

    Returns:
        A figure of at most 840 pixels width, its height according to the pictures.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If shapes differ, or there is no difference to draw.
    """
    first = check_images("originals", originals)
    changes = check_images_by_width("differences", differences, first.shape)
    whole = np.stack(list(changes.values()))
    limit, title = check_limit(limit, whole), check_label("title", title)
    colors = colorize(whole, limit)
    # Of one channel, they get three too, to share the grid.
    grid = np.concatenate([np.broadcast_to(to_bytes(first), colors.shape[1:])[None], colors])
    labels = ["original", *(f"unit {unit}" for unit in changes)]
    figure = tiles_figure(grid, labels, title=title, right=_BAR)
    clipped = limit < symmetric_limit(whole)
    add_color_bar(figure, limit, _CHANGE + (", clipped" if clipped else ""))
    return figure


def traversal(
    pictures: np.ndarray | Tensor,
    values: Sequence[float] | np.ndarray | Tensor,
    units: Sequence[int] | None = None,
    *,
    title: str | None = None,
) -> go.Figure:
    """Draw what is decoded as one unit moves and all others stay.

    Args:
        pictures: Floats in [0, 1], shape (units, values, 1 or 3, height, width).
        values: How far a unit is moved in each column, in its standard deviations.
        units: The unit moved in each row, counted from 1; by default the first ones.
        title: Above the figure.

    Returns:
        A figure of at most 840 pixels width, its height according to the pictures.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If the shapes do not fit each other.
    """
    array = check_floats("pictures", pictures, "(units, values, 1 or 3, height, width)", 5)
    rows, columns = array.shape[:2]
    flat = check_images("pictures", array.reshape(-1, *array.shape[2:]))
    if isinstance(values, Tensor):
        values = as_array(values)
    check_collection("values", values, "numbers")
    if units is None:
        units = range(1, rows + 1)
    check_collection("units", units, "units")
    for name, found, expected in (("values", len(values), columns), ("units", len(units), rows)):
        if found != expected:
            raise ValueError(
                f"{name} must number {expected} for pictures of shape {array.shape}, got {found}"
            )
    moves = [check_number("each of values", value) for value in values]
    grid = to_bytes(flat)
    return tiles_figure(
        grid.reshape(rows, columns, *grid.shape[1:]),
        [f"unit {check_int('each of units', unit)}" for unit in units],
        [signed(move) for move in moves],
        columns_title="unit moved by, in its standard deviations",
        title=check_label("title", title),
    )


def signed(value: float) -> str:
    """Write a number with its sign, as print does.

    Example:
        >>> signed(2.0), signed(-1.5), signed(0.0)
        ('+2', '−1.5', '0')
    """  # noqa: RUF002 - a minus sign
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if value else "0"
