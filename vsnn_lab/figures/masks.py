"""Prefix masks as pictures: who is kept, row by row."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from vsnn_lab._basics.checks import check_int, short_repr
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_mask, check_text
from vsnn_lab.figures.labels import LETTER, short_labels

_SPACING = 0.06  # between pictures, as a share of the figure's width
# Left out, kept. Left out is a tint rather than nothing, so that the batch shows its size.
_COLORS = [[0, "rgba(128,132,138,0.16)"], [1, style.VARIABLE.color]]


def mask_heatmap(mask: Tensor | np.ndarray) -> go.Heatmap:
    """Return a mask as a picture, first sample on top, units counted from 1."""
    kept = check_mask("mask", mask)
    return go.Heatmap(
        z=kept,
        x0=1,
        y0=1,
        zmin=0,
        zmax=1,
        colorscale=_COLORS,
        showscale=False,
        hovertemplate="sample %{y}, unit %{x}<extra></extra>",
        xgap=1 if kept.shape[1] <= 32 else 0,
        ygap=1 if kept.shape[0] <= 32 else 0,
    )


def mask_gallery(masks: Mapping[str, Tensor], columns: int = 3) -> go.Figure:
    """Draw masks side by side on one scale.

    Args:
        masks: Masks by title, each of shape (batch, units).
        columns: Pictures in a row.

    Returns:
        A figure of 840 pixels width.
    """
    if not isinstance(masks, Mapping):
        raise TypeError(f"masks must map titles to masks, got {short_repr(masks)}")
    for title in masks:
        check_text("each title of masks", title)
    checked = [check_mask("masks", mask) for mask in masks.values()]
    if not checked:
        raise ValueError("masks must hold at least one mask, got none")
    columns = check_int("columns", columns, 1, int(1 / _SPACING))
    rows, letters = -(-len(checked) // columns), int(style.PAGE / columns / LETTER)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=short_labels([title or "" for title in masks], letters),
        horizontal_spacing=_SPACING,
        vertical_spacing=0.5 / (rows + 1),
    )
    figure.update_layout(template=style.TEMPLATE, width=style.PAGE, height=90 + 290 * rows)
    figure.update_annotations(font_size=13)
    for index, mask in enumerate(checked):
        where = {"row": index // columns + 1, "col": index % columns + 1}
        batch, units = mask.shape
        figure.add_trace(mask_heatmap(mask), **where)
        figure.update_xaxes(_cell_axis(units, "unit") | {"constrain": "domain"}, **where)
        square = {"scaleanchor": "x" if index == 0 else f"x{index + 1}", "constrain": "domain"}
        square |= {"constraintoward": "top", "autorange": "reversed"}
        figure.update_yaxes(_cell_axis(batch, "sample") | square, **where)
    return figure


def _cell_axis(count: int, title: str) -> dict[str, object]:
    step = max(1, 2 ** (int(count - 1).bit_length() - 3))
    ticks = sorted({1, *range(step, count + 1, step)} - ({step} if step == 2 else set()))
    cells = {"range": [0.5, count + 0.5], "tickvals": ticks, "title": title}
    return {**cells, "showgrid": False, "zeroline": False}
