"""What a policy earns at each width, beside those of one width."""

from typing import Any

import plotly.graph_objects as go

from vsnn_lab._basics.checks import check_number
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_points, check_text
from vsnn_lab.figures.seeds import Seeds, line_in_band, seed_points

LOOKS = {
    "variable": style.Style("variable policy", style.VARIABLE.color, style.VARIABLE.symbol),
    "acting": style.Style("widths that act while learning", "#9a7b1f", "triangle-up", "longdash"),
    "dedicated": style.Style("dedicated policies", style.DEDICATED.color, style.DEDICATED.symbol),
    "ordinary": style.Style("ordinary policy", style.PLAIN.color, style.PLAIN.symbol, "dash"),
    "linear": style.Style("linear policy", style.REFERENCE.color, "line-ew", "dot"),
}
_LEGEND = {"x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top", "traceorder": "reversed"}


def return_curves(
    variable: Seeds,
    *,
    dedicated: Seeds | None = None,
    acting: Seeds | None = None,
    ordinary: float | list[float] | None = None,
    linear: float | list[float] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw returns against width: lines through the mean of seeds, in a band from least to most.

    Args:
        variable: Of the variable policy, by width, one number or one a seed.
        dedicated: Of policies trained with so many units alone: points with whiskers.
        acting: Of a policy whose widths act while it learns.
        ordinary: Of ordinary full-width policies, one a seed: a horizontal line.
        linear: The same of linear policies.
        title: Above the figure.

    Returns:
        A figure of 840 by 420 pixels.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there is no width, or a number is not finite.
    """
    curves = {"variable": check_points("variable", variable)}
    curves["acting"] = check_points("acting", acting)
    points, title = check_points("dedicated", dedicated), check_text("title", title)
    if not curves["variable"]:
        raise ValueError(f"variable must hold at least one width, got {variable!r}")
    most = max(curves["variable"])
    figure = go.Figure()
    for name, values in (("linear", linear), ("ordinary", ordinary)):
        if values is not None:
            numbers = [check_number(name, value) for value in _listed(values)]
            figure.add_traces(line_in_band(LOOKS[name], {1: numbers, most: numbers}))
    for name, curve in curves.items():
        if curve:
            figure.add_traces(line_in_band(LOOKS[name], curve))
    if points:
        figure.add_trace(seed_points(LOOKS["dedicated"], points, 1.0, size=9))
    figure.update_layout(template=style.TEMPLATE, width=style.PAGE, height=420, title=title)
    figure.update_layout(legend=_LEGEND, margin_r=224)
    figure.update_xaxes(style.log2_axis(most, "width (units of each hidden layer)"))
    figure.update_yaxes(title="return of an episode")
    return figure


def _listed(values: Any) -> list[Any]:
    """Return one number, or at least one a seed, as a list."""
    return list(values) if isinstance(values, list | tuple) and values else [values]
