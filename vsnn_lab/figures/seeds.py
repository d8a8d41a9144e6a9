"""Several methods, each at several widths, each with several seeds."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import plotly.graph_objects as go
from torch import Tensor

from vsnn_lab._basics.checks import check_choice, short_repr
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import as_array, check_points

METHODS = {
    "variable": style.VARIABLE,
    "dedicated": style.DEDICATED,
    "pca": style.PCA,
    "pcaae": style.PCAAE,
}
Seeds = Mapping[int, float | Sequence[float]]
Curves = Mapping[str, Seeds]
Points = Mapping[int, Sequence[float]]
_HOVER = "%{x} units: %{y:.3~g}"


def check_errors(name: str, points: Any) -> dict[int, list[float]]:
    """Return errors, one or several a width, widths ascending; or say what is wrong with them."""
    if isinstance(points, Mapping):
        points = {
            width: as_array(value.double())
            if isinstance(value, Tensor) and value.is_floating_point()
            else value
            for width, value in points.items()
        }
    found = check_points(name, points)
    if not found:
        raise ValueError(f"{name} must hold at least one width, got {short_repr(points)}")
    for width, errors in found.items():
        if min(errors) < 0:
            raise ValueError(f"{name} must be errors of at least 0, got {min(errors)} at {width}")
    return found


def check_methods(name: str, curves: Any) -> dict[str, dict[int, list[float]]]:
    """Return the errors of each method, methods in the palette's order."""
    if not isinstance(curves, Mapping):
        raise TypeError(f"{name} must map methods to errors by width, got {short_repr(curves)}")
    if not curves:
        raise ValueError(f"{name} must hold at least one of {', '.join(METHODS)}, got none")
    for method in curves:
        check_choice(f"each method of {name}", method, METHODS)
    return {m: check_errors(f"{name}[{m!r}]", curves[m]) for m in METHODS if m in curves}


def seed_means(points: Points, scale: float = 1.0) -> dict[int, float]:
    """Return the mean over seeds at each width."""
    return {width: fmean(values) * scale for width, values in points.items()}


def seed_whiskers(points: Points, scale: float = 1.0) -> dict[str, Any]:
    """Return Plotly's error bars from the mean over seeds to the least and to the largest."""
    middle = seed_means(points, scale)
    return {
        "array": [max(points[width]) * scale - mean for width, mean in middle.items()],
        "arrayminus": [mean - min(points[width]) * scale for width, mean in middle.items()],
        "visible": any(len(values) > 1 for values in points.values()),
    }


def seed_points(look: style.Style, points: Points, scale: float, size: int) -> go.Scatter:
    """Return means over seeds as points of some size, with whiskers."""
    return go.Scatter(
        x=list(points),
        y=list(seed_means(points, scale).values()),
        error_y=seed_whiskers(points, scale),
        name=look.name,
        mode="markers",
        marker=look.marker | {"size": size},
    )


def method_traces(method: str, points: Points, scale: float = 1.0) -> list[go.Scatter]:
    """Return how a method looks: a line in a band, or points with whiskers where each stands alone.

    Band and whiskers reach from the least to the largest of the seeds.

    Args:
        method: One of `METHODS`.
        points: One or several values a width.
        scale: Factor on all values.
    """
    look = METHODS[method]
    if method == "dedicated":
        trace = seed_points(look, points, scale, size=9)
        return [trace.update(error_y_thickness=1.5, legendgroup=look.name, hovertemplate=_HOVER)]
    return line_in_band(look, points, scale)


def line_in_band(look: style.Style, points: Points, scale: float = 1.0) -> list[go.Scatter]:
    """Return a line through the mean of seeds, in a band from the least to the largest of them."""
    shared, x = {"legendgroup": look.name, "hovertemplate": _HOVER}, list(points)
    line = style.curve_trace(look, x, list(seed_means(points, scale).values())).update(**shared)
    if all(len(values) == 1 for values in points.values()):
        return [line]
    high = [max(values) * scale for values in points.values()]
    low = [min(values) * scale for values in points.values()]
    red, green, blue = (int(look.color[i : i + 2], 16) for i in (1, 3, 5))
    band = go.Scatter(
        x=x + x[::-1],
        y=high + low[::-1],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=f"rgba({red}, {green}, {blue}, 0.25)",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=look.name,
        name=f"{look.name}, seeds",
    )
    return [band, line]
