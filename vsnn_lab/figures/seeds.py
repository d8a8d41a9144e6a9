"""Several methods, each at several widths, each with several seeds."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import plotly.graph_objects as go
from torch import Tensor

from vsnn_lab._basics.checks import check_choice
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_points

METHODS = {
    "variable": style.VARIABLE,
    "dedicated": style.DEDICATED,
    "pca": style.PCA,
    "pcaae": style.PCAAE,
}
Points = Mapping[int, list[float]]


def check_errors(name: str, points: Any) -> dict[int, list[float]]:
    """Return errors, one or several a width, widths ascending; or say what is wrong with them."""
    if isinstance(points, Mapping):
        points = {
            width: value.detach().cpu().double().numpy() if _real(value) else value
            for width, value in points.items()
        }
    found = check_points(name, points)
    if not found:
        raise ValueError(f"{name} must hold at least one width, got {points!r}")
    for width, errors in found.items():
        if min(errors) < 0:
            raise ValueError(f"{name} must be errors of at least 0, got {min(errors)} at {width}")
    return found


def check_methods(name: str, curves: Any) -> dict[str, dict[int, list[float]]]:
    """Return the errors of each method, methods in the palette's order."""
    if not isinstance(curves, Mapping):
        raise TypeError(f"{name} must map methods to errors by width, got {curves!r}")
    if not curves:
        raise ValueError(f"{name} must hold at least one of {', '.join(METHODS)}, got none")
    for method in curves:
        check_choice(f"each method of {name}", method, METHODS)
    return {m: check_errors(f"{name}[{m!r}]", curves[m]) for m in METHODS if m in curves}


def means(points: Points, scale: float = 1.0) -> dict[int, float]:
    """Return the mean over seeds at each width."""
    return {width: fmean(values) * scale for width, values in points.items()}


def method_traces(method: str, points: Points, scale: float = 1.0) -> list[go.Scatter]:
    """Return how a method looks: a line in a band, or points with whiskers where each stands alone.

    Band and whiskers reach from the least to the largest of the seeds.

    Args:
        method: One of `METHODS`.
        points: One or several values a width.
        scale: Factor on all values.
    """
    look, several = METHODS[method], any(len(values) > 1 for values in points.values())
    middle = means(points, scale)
    low = {width: min(values) * scale for width, values in points.items()}
    high = {width: max(values) * scale for width, values in points.items()}
    x, shared = list(points), {"legendgroup": method, "name": look.name}
    hover = {"hovertemplate": "%{x} units: %{y:.3~g}"}
    if method == "dedicated":
        whiskers = {
            "array": [high[w] - middle[w] for w in x],
            "arrayminus": [middle[w] - low[w] for w in x],
            "visible": several,
            "thickness": 1.5,
        }
        y, marker = list(middle.values()), look.marker | {"size": 9}
        points_of = {"mode": "markers", "marker": marker, "error_y": whiskers}
        return [go.Scatter(x=x, y=y, **points_of, **shared, **hover)]
    # Markers tell lines apart in grey, but 256 of them would be a smear.
    mode = "lines+markers" if len(x) <= 40 else "lines"
    lines = {"mode": mode, "line": look.line, "marker": look.marker | {"size": 6}}
    line = go.Scatter(x=x, y=list(middle.values()), **lines, **shared, **hover)
    if not several:
        return [line]
    band = go.Scatter(
        x=x + x[::-1],
        y=list(high.values()) + list(low.values())[::-1],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=_faint(look.color),
        hoverinfo="skip",
        showlegend=False,
        legendgroup=method,
        name=f"{look.name}, seeds",
    )
    return [band, line]


def _faint(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.25)"


def _real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
