"""A metric against what it costs: parameters, multiply-accumulates, time."""

from collections.abc import Mapping
from math import log10
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vsnn_lab._basics.checks import check_number, short_repr
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_points, sorted_by_width
from vsnn_lab.figures.comparison import LEGEND_ABOVE
from vsnn_lab.figures.labels import check_label
from vsnn_lab.figures.seeds import Seeds, line_in_band, seed_points

_TICKS = (1, 2, 5)  # of each power of ten
_LOOKS = {
    "dedicated": style.DEDICATED,
    "mixed": style.Style("mixed widths, at equal cost", "#16936d", "square"),
}


def cost_curves(
    variable: Seeds,
    costs: Mapping[str, Mapping[int, float]],
    *,
    dedicated: Seeds | None = None,
    mixed: Seeds | None = None,
    label: str = "error",
    title: str | None = None,
) -> go.Figure:
    """Draw a metric of each width against one cost or several, side by side.

    Lines run through the mean over seeds, in a band from the least to the largest; networks of one
    width alone are points with whiskers. The vertical axis does not begin at zero; what the ratio
    of two values is, `comparison_curves` shows.

    Args:
        variable: The metric by width, one number or one a seed.
        costs: For each cost, named with its unit, how much of it each width has.
        dedicated: The metric of networks trained for one width alone.
        mixed: The metric of submodels of several knobs that cost what a width does.
        label: Name and unit of the metric on the axis.
        title: Above the figure.

    Returns:
        A figure of 840 by 400 pixels.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there is no width or no cost, or a width has no cost above 0.

    Example:
        >>> figure = cost_curves({1: 2.1, 2: [1.8, 1.9]}, {"parameters": {1: 4e5, 2: 1.6e6}})
        >>> figure.data[-1].x, [round(y, 2) for y in figure.data[-1].y]
        ((400000.0, 1600000.0), [2.1, 1.85])
    """
    curves = {
        name: check_points(name, points)
        for name, points in (("variable", variable), ("dedicated", dedicated), ("mixed", mixed))
    }
    if not curves["variable"]:
        raise ValueError(f"variable must hold at least one width, got {short_repr(variable)}")
    if not isinstance(costs, Mapping) or not costs:
        raise TypeError(
            f"costs must map at least one name to costs by width, got {short_repr(costs)}"
        )
    widths = {width for points in curves.values() for width in points}
    prices = {
        check_label("each name of costs", name): _check_costs(cost, widths)
        for name, cost in costs.items()
    }
    axis, title = check_label("label", label), check_label("title", title)
    figure = make_subplots(1, len(prices), shared_yaxes=True, horizontal_spacing=0.05)
    for column, (name, cost) in enumerate(prices.items(), 1):
        traces = line_in_band(style.VARIABLE, curves["variable"])
        traces += [seed_points(look, curves[kind], 1.0, size=9) for kind, look in _LOOKS.items()]
        for trace in traces:
            trace.update(x=[cost[width] for width in trace.x], legendgroup=trace.name)
            trace.update(showlegend=None if column == 1 else False)
            if len(trace.x):
                figure.add_trace(trace, 1, column)
        figure.update_xaxes(_log_axis([cost[width] for width in sorted(widths)], name), col=column)
    figure.update_layout(template=style.TEMPLATE, width=style.PAGE, height=400, title=title)
    figure.update_layout(legend=LEGEND_ABOVE, margin_t=76 if title else 44)
    figure.update_yaxes(title=axis, col=1)
    return figure


def _check_costs(costs: Any, widths: set[int]) -> dict[int, float]:
    """Return what each width costs, or say which of them has no cost."""
    if not isinstance(costs, Mapping):
        raise TypeError(f"costs must map each name to costs by width, got {short_repr(costs)}")
    found = {
        width: check_number("each value of costs", cost)
        for width, cost in sorted_by_width("costs", costs).items()
    }
    for width in sorted(widths):
        if found.get(width, 0) <= 0:
            got = found.get(width, "none")
            raise ValueError(f"costs must be above 0 at each width, got {got} at width {width}")
    return found


def _log_axis(costs: list[float], title: str | None) -> dict[str, Any]:
    """Return a logarithmic axis over some costs; Plotly's own ticks are few or too many."""
    low, high = min(costs) / 1.12, max(costs) * 1.12
    powers = range(int(log10(low)) - 1, int(log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in _TICKS]
    return {
        "type": "log",
        "range": [log10(low), log10(high)],
        "tickvals": [tick for tick in ticks if low <= tick <= high],
        "tickformat": "~s",
        "title": {"text": title},
    }
