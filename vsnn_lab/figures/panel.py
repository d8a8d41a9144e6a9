"""One of many small panels: a metric of several networks against a cost."""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, log2, log10
from typing import Any

import plotly.graph_objects as go

from vsnn_lab._basics.checks import check_choice, check_int, check_number, short_repr
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_points, sorted_by_width
from vsnn_lab.figures.seeds import Points, Seeds, line_in_band, seed_means, seed_points

LOOKS = {
    "variable": style.VARIABLE,
    "dedicated": style.DEDICATED,
    "plain": style.PLAIN,
    "pca": style.PCA,
    "linear": style.Style("no hidden units", style.REFERENCE.color, "line-ew", "dot"),
}
HEIGHT = 180  # pixels
_MARGIN = {"l": 46, "r": 12, "t": 8, "b": 26}
_FONT = 12
_MOST_TICKS = 3
# A cost that hardly changes with width should look like that: the ends are as many times apart.
_LEAST_RATIO = 5
_THOUSANDS = 1000
_AIR = 0.06  # of an axis, beyond what it shows


def panel_curves(
    curves: Mapping[str, Seeds],
    places: Mapping[str, Mapping[int, float]],
    *,
    steps: int | None = None,
) -> go.Figure:
    """Draw a metric against a cost, small enough for many side by side.

    Lines run through the mean over seeds, in a band from the least to the largest; networks of one
    width are points with whiskers. A level line is drawn at what the plain network has, and one
    without hidden units. The vertical axis begins at zero, and stays as it is for every cost.
    Ranges and margins are given and nothing zooms, so that a page knows where a value is drawn.

    Args:
        curves: The metric by width, one number or one a seed, of "variable", and as far as there
            are some, of "dedicated", "plain" and "linear" networks and of "pca".
        places: What each width costs, for each of them. What has no place is not drawn against
            this cost, but for the levels.
        steps: Positions of the knob, where the cost is a share of them in (0, 1]; None of any
            other.

    Returns:
        A figure without a width of its own, 180 pixels high.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there is no variable network, a kind is unknown, or a cost not above 0.

    Example:
        >>> figure = panel_curves({"variable": {1: 9.5, 2: [8.0, 9.0]}}, {"variable": {1: 3, 2: 7}})
        >>> figure.data[1].x, figure.data[1].y
        ((3.0, 7.0), (9.5, 8.5))
    """
    points = _check_curves(curves)
    if not isinstance(places, Mapping):
        raise TypeError(f"places must map networks to costs by width, got {short_repr(places)}")
    at = {name: _check_places(name, places.get(name, {})) for name in points}
    drawn = {
        name: {width: values for width, values in found.items() if width in at[name]}
        for name, found in points.items()
    }
    costs = [at[name][width] for name, found in drawn.items() for width in found]
    if not costs:
        raise ValueError(f"places must hold at least one width of curves, got {short_repr(places)}")
    axis = _cost_axis(costs) if steps is None else _share_axis(costs, check_int("steps", steps))
    figure = go.Figure()
    for name in ("linear", "plain"):
        if name in points:
            figure.add_trace(_level(name, points[name], axis["range"]))
    for name, found in drawn.items():
        for trace in _traces(name, found):
            trace.update(x=[at[name][width] for width in trace.x], hovertemplate=None)
            figure.add_trace(trace)
    figure.update_layout(template=style.TEMPLATE, height=HEIGHT, margin=_MARGIN, font_size=_FONT)
    figure.update_layout(showlegend=False, dragmode=False, hovermode="closest")
    figure.update_xaxes(axis, fixedrange=True, tickangle=0)
    ends = _value_range(points)
    # In thousands where there are some; half of one would be 500 thousandths.
    form = "~s" if ends[1] >= _THOUSANDS else "~g"
    figure.update_yaxes(range=ends, fixedrange=True, nticks=5, tickformat=form)
    return figure


def _check_curves(curves: Any) -> dict[str, dict[int, list[float]]]:
    if not isinstance(curves, Mapping):
        raise TypeError(f"curves must map networks to a metric by width, got {short_repr(curves)}")
    for name in curves:
        check_choice("each network of curves", name, tuple(LOOKS))
    found = {name: points for name in LOOKS if (points := check_points(name, curves.get(name)))}
    if "variable" not in found:
        raise ValueError(f"curves must hold a variable network, got {short_repr(curves)}")
    return found


def _check_places(name: str, places: Any) -> dict[int, float]:
    if not isinstance(places, Mapping):
        raise TypeError(f"places must map widths of {name} to costs, got {short_repr(places)}")
    found = {
        width: check_number("each cost of places", cost)
        for width, cost in sorted_by_width("places", places).items()
    }
    for width, cost in found.items():
        if cost <= 0:
            raise ValueError(f"costs of {name} must be above 0, got {cost} at width {width}")
    return found


def _traces(name: str, points: Points) -> list[go.Scatter]:
    if name in ("dedicated", "plain"):
        trace = seed_points(LOOKS[name], points, 1.0, size=7)
        return [trace.update(error_y_thickness=1.5, error_y_width=3)] if points else []
    if name == "linear":  # a level alone
        return []
    traces = line_in_band(LOOKS[name], points) if points else []
    for trace in traces:
        trace.marker.size = 4
    return traces


def _level(name: str, points: Points, ends: list[float]) -> go.Scatter:
    """Return a line over the whole axis at what the widest of some networks has."""
    value = seed_means(points)[max(points)]
    look = LOOKS[name]
    x = [10**end for end in ends]
    line = look.line | {"width": 1.5}
    return go.Scatter(x=x, y=[value] * 2, name=look.name, mode="lines", line=line, hoverinfo="skip")


def _value_range(points: Mapping[str, Points]) -> list[float]:
    """Return the ends of the vertical axis: from zero, so that heights are what values are."""
    values = [each for found in points.values() for numbers in found.values() for each in numbers]
    low, high = min(0.0, *values), max(0.0, *values)
    air = _AIR * ((high - low) or 1.0)
    return [low - air if low < 0 else 0.0, high + air]


def _cost_axis(costs: list[float]) -> dict[str, Any]:
    """Return a logarithmic axis over costs, with a few powers of ten or steps of them as ticks."""
    low, high = _ends(costs)
    powers = range(int(low) - 1, int(high) + 2)
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= log10(tick) <= high]
        if len(ticks) >= 2:
            break
    ticks = ticks[:: ceil(len(ticks) / _MOST_TICKS)]
    return {"type": "log", "range": [low, high], "tickvals": ticks, "tickformat": "~s"}


def _share_axis(shares: list[float], steps: int) -> dict[str, Any]:
    """Return a logarithmic axis over shares of a knob, with powers of two as ticks."""
    octaves = int(log2(steps))
    apart = max(1, ceil(octaves / _MOST_TICKS))
    ticks = [Fraction(1, 2**power) for power in range(0, octaves + 1, apart)]
    return {
        "type": "log",
        "range": [*_ends(shares)],
        "tickvals": [float(tick) for tick in ticks],
        "ticktext": [str(tick) for tick in ticks],
    }


def _ends(costs: list[float]) -> tuple[float, float]:
    """Return the ends of a logarithmic axis in powers of ten, with air beyond what it shows."""
    low, high = log10(min(costs)), log10(max(costs))
    span = max(high - low, log10(_LEAST_RATIO))
    middle, half = (low + high) / 2, (0.5 + _AIR) * span
    return middle - half, middle + half
