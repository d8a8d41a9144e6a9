"""Differences of pictures in colour: grey where nothing changes, one hue for each sign."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from vsnn_lab._basics.checks import check_number

# Lightness rises all the way from darker through unchanged to brighter, so that signs can be told
# apart in greyscale and with any colour vision; blue and orange add the hue.
_STOPS = ("#0c2c6e", "#3f78b5", "#8a8d91", "#e39a3c", "#ffe8b0")
_RGB = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in _STOPS])
_PLACES = np.linspace(-1, 1, len(_STOPS))
COLORSCALE = [[(place + 1) / 2, stop] for place, stop in zip(_PLACES, _STOPS, strict=True)]


def colorize(changes: np.ndarray, limit: float) -> np.ndarray:
    """Return changes of pixels as colours.

    Args:
        changes: Shape (..., channels, height, width), signed. Of colour images it is the mean over
            the channels that is shown, since a hue stands for a sign already.
        limit: The change that has the last colour; larger ones share it.

    Returns:
        uint8, shape (..., height, width, 3).
    """
    shares = np.clip(changes.mean(-3), -limit, limit) / limit
    return np.stack([np.interp(shares, _PLACES, c) for c in _RGB.T], -1).round().astype(np.uint8)


def symmetric_limit(changes: np.ndarray) -> float:
    """Return the largest change, at least one byte's step, so that a flat picture has a scale."""
    return max(float(np.abs(changes.mean(-3)).max()), 1 / 255)


def check_limit(limit: Any, changes: np.ndarray) -> float:
    """Return the limit of a scale: the one asked for, or the largest change."""
    if limit is None:
        return symmetric_limit(changes)
    limit = check_number("limit", limit, 0)
    if limit == 0:
        raise ValueError(f"limit must be above 0, got {limit}")
    return limit


def add_color_bar(figure: go.Figure, limit: float, title: str) -> None:
    """Add the scale of `colorize` right of a figure, symmetric around zero.

    Args:
        figure: With at least 84 pixels of the screen kept free on its right.
        limit: The change that has the last colour.
        title: What is drawn, with its unit.
    """
    bar = {"thickness": 12, "outlinewidth": 0, "tickformat": "~g", "nticks": 7}
    scale = {"cmin": -limit, "cmax": limit, "colorscale": COLORSCALE, "showscale": True}
    place = {"x": 1, "xpad": 12, "ypad": 0}
    # A point that is nowhere: a picture has no scale of its own.
    trace = go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        hoverinfo="skip",
        showlegend=False,
        marker=scale | {"color": [0], "colorbar": bar | place},
    )
    figure.add_trace(trace)
    # Plotly's own title of a scale would lie over long labels.
    x = {"x": 1, "xref": "paper", "xanchor": "left", "xshift": 66}
    y = {"y": 0.5, "yref": "paper"}
    figure.add_annotation(text=title, textangle=-90, showarrow=False, **x, **y)
