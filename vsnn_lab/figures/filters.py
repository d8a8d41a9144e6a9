"""A convolution's filters in the order in which they are kept, and what each of them adds."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from vsnn_lab._basics.checks import short_repr
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_curve, check_floats
from vsnn_lab.figures.diverging import add_color_bar, colorize
from vsnn_lab.figures.images import add_opacity, png, tile
from vsnn_lab.figures.labels import LINE, as_label, check_label
from vsnn_lab.figures.metric import Metric, check_metric
from vsnn_lab.figures.tiles import label_ticks

# Pictures of a row: powers of two, so that octaves end with rows.
_IN_A_ROW, _IN_A_LONG_ROW, _LONG = 16, 32, 64
_FINEST = 16  # pixels of a picture at least, since gaps between them are two pixels wide
_LARGEST = 44  # pixels of the screen that a picture's longer side takes at most
_LEFT, _RIGHT, _BOTTOM, _GAP = 84, 96, 56, 44
_CURVE, _GAINS = 170, 130  # pixels of the screen from top to bottom


def filter_gallery(
    filters: np.ndarray | Tensor,
    values: Mapping[int, float],
    *,
    metric: Metric,
    title: str | None = None,
) -> go.Figure:
    """Draw filters in the order in which narrow widths keep them, and what the k-th one adds.

    Above are the filters, on one scale symmetric around zero; of three channels as colours, in
    which grey is zero. Below are the metric against the number of filters kept, and its change for
    each filter that is added, up where it gets better.

    Args:
        filters: Weights of a convolution, shape (filters, channels, height, width), the first kept
            first, such as those of the first layer.
        values: The metric by the number of filters kept, at two numbers or more. Between numbers
            that are further apart the change is shared alike.
        metric: What it is called and which way is better.
        title: Above the figure.

    Returns:
        A figure of 840 pixels width, its height according to the pictures.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If a number of filters is more than there are, or fewer than two are given.

    Example:
        >>> import torch
        >>> accuracy = Metric("accuracy", "higher", unit="%", scale=100)
        >>> values = {1: 0.5, 2: 0.7, 4: 0.8}
        >>> figure = filter_gallery(torch.randn(4, 1, 3, 3), values, metric=accuracy)
        >>> [round(gain, 3) for gain in figure.data[-1].y]
        [20.0, 5.0, 5.0]
    """
    weights = check_floats("filters", filters, "(filters, channels, height, width)", 4)
    points, title = check_curve("values", values), check_label("title", title)
    if check_metric("metric", metric) is None:
        raise TypeError("metric must be a Metric, got None; Metric('accuracy', 'higher') is one")
    if len(points) < 2 or max(points) > len(weights):
        raise ValueError(
            f"values must name two numbers of filters or more, at most {len(weights)}, got "
            f"{short_repr(list(points))}"
        )
    limit = float(np.abs(weights if weights.shape[1] == 3 else weights.mean(1)).max()) or 1.0
    figure = go.Figure()
    bottom, height = _draw_filters(figure, weights, limit, 36 if title else 12)
    _draw_curves(figure, points, metric, len(weights), height)
    figure.update_layout(template=style.TEMPLATE, title=title, showlegend=False, bargap=0.15)
    figure.update_layout(yaxis_domain=[bottom, 1])
    if weights.shape[1] != 3:
        mean = "" if weights.shape[1] == 1 else ", mean over channels"
        add_color_bar(figure, limit, f"weight{mean}")
        scale = figure.data[-1].marker.colorbar
        scale.update(y=(1 + bottom) / 2, len=1 - bottom, nticks=5)
        figure.layout.annotations[-1].update(y=(1 + bottom) / 2)
        # What comes last is on top, and the last trace is that of the changes.
        figure.data = (figure.data[-1], *figure.data[:-1])
    return figure


def _draw_filters(
    figure: go.Figure, weights: np.ndarray, limit: float, top: int
) -> tuple[float, int]:
    """Draw pictures in rows; return where they end, as a share of the plot, and its height."""
    count, channels, *sides = weights.shape
    times = -(-_FINEST // max(sides))
    weights = weights.repeat(times, 2).repeat(times, 3)
    tall, wide = weights.shape[2:]
    columns = min(count, _IN_A_ROW if count <= _LONG else _IN_A_LONG_ROW)
    rows = -(-count // columns)
    if channels == 3:
        shares = 0.5 + weights.transpose(0, 2, 3, 1) / (2 * limit)
        pictures = add_opacity((255 * shares).round().astype(np.uint8))
    else:
        pictures = add_opacity(colorize(weights, limit))
    empty = np.zeros((rows * columns - count, *pictures.shape[1:]), np.uint8)
    grid = np.concatenate([pictures, empty]).reshape(rows, columns, *pictures.shape[1:])
    pixels = tile(grid)
    scale = min((style.PAGE - _LEFT - _RIGHT) / pixels.shape[1], _LARGEST / max(tall, wide))
    own = round(pixels.shape[0] * scale)
    plot = own + _GAP + _CURVE + _GAP + _GAINS
    figure.add_trace(go.Image(source=png(pixels), hoverinfo="skip"))
    names = [
        f"{first}–{min(first + columns - 1, count)}" if columns > 1 else f"{first}"  # noqa: RUF001
        for first in range(1, count + 1, columns)
    ]
    axes = style.pixel_axes()
    figure.update_layout(
        width=style.PAGE,
        height=plot + top + _BOTTOM,
        margin={"l": _LEFT, "r": _RIGHT, "t": top, "b": _BOTTOM},
        xaxis=axes["xaxis"] | {"constraintoward": "left"},
        yaxis=axes["yaxis"] | label_ticks(names, tall, LINE / scale) | {"ticklabelstandoff": 6},
    )
    return 1 - own / plot, plot


def _draw_curves(
    figure: go.Figure, points: Mapping[int, float], metric: Metric, count: int, height: int
) -> None:
    """Draw the metric against the number of filters, and under it the change for each of them."""
    numbers, shown = list(points), [value * metric.scale for value in points.values()]
    curve = style.curve_trace(style.VARIABLE, numbers, shown)
    unit = f" {metric.unit}" if metric.unit else ""
    curve.update(xaxis="x2", yaxis="y2", hovertemplate=f"%{{x}} filters: %{{y:.4~g}}{unit}")
    sign = 1 if metric.better == "higher" else -1
    added: list[int] = []
    gains: list[float] = []
    for low, high in pairwise(numbers):
        change = sign * metric.scale * (points[high] - points[low]) / (high - low)
        added += range(low + 1, high + 1)
        gains += [change] * (high - low)
    colors = [style.VARIABLE.color if gain >= 0 else style.DEDICATED.color for gain in gains]
    bars = go.Bar(
        x=added, y=gains, xaxis="x3", yaxis="y3", marker={"color": colors, "line": {"width": 0}},
        hovertemplate=f"filter %{{x}}: %{{y:+.3~g}}{unit}",
    )  # fmt: skip
    figure.add_traces([curve, bars])
    axis = {"range": [0.4, count + 0.6], "matches": "x3", "showgrid": False}
    figure.update_layout(
        xaxis2=axis | {"anchor": "y2", "showticklabels": False},
        xaxis3={
            **axis,
            "matches": None,
            "anchor": "y3",
            "title": {"text": "filters kept, in this order"},
        },
        yaxis2={
            "domain": [(_GAINS + _GAP) / height, (_GAINS + _GAP + _CURVE) / height],
            "anchor": "x2",
            "title": {"text": as_label(metric.label)},
        },
        yaxis3={
            "domain": [0, _GAINS / height],
            "anchor": "x3",
            "title": {"text": f"{metric.better} by"},
            "zeroline": True,
            "zerolinecolor": style.TEXT_COLOR,
        },
    )
