"""How close recipes come to networks trained for each width alone."""

from collections.abc import Mapping
from dataclasses import replace

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vsnn_lab._basics.checks import check_number, short_repr
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_points, check_text
from vsnn_lab.figures.comparison import LEGEND_ABOVE
from vsnn_lab.figures.labels import check_label, short_labels
from vsnn_lab.figures.overlay import run_style
from vsnn_lab.figures.seeds import Points, Seeds, seed_means, seed_points

_LONGEST = 36  # letters of a name in the legend


def recipe_curves(
    curves: Mapping[str, Seeds],
    dedicated: Seeds,
    *,
    recommended: str | None = None,
    scale: float = 100.0,
    lowest: float = -4.0,
    title: str | None = None,
) -> go.Figure:
    """Draw a metric of several recipes over width, and how far each is from dedicated networks.

    Lines run through the mean over seeds, and whiskers from the least to the largest. On the right
    each recipe's mean minus that of dedicated networks, at their widths; the whiskers around zero
    are those networks' own.

    Args:
        curves: The metric, of which more is better, by width for each recipe, one number or one a
            seed.
        dedicated: The same of networks trained for one width alone.
        recommended: The recipe that has the variable network's colour.
        scale: Factor on all values, 100 for an accuracy in percent.
        lowest: Where the right axis ends; what lies below is not drawn.
        title: Above the figure.

    Returns:
        A figure of 840 by 440 pixels.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there is no recipe, or no dedicated network.

    Example:
        >>> figure = recipe_curves({"mine": {4: 0.8, 8: [0.84, 0.86]}}, {4: 0.81, 8: 0.85})
        >>> [round(value, 1) for value in figure.data[-1].y]
        [-1.0, 0.0]
    """
    if not isinstance(curves, Mapping) or not curves:
        raise TypeError(
            f"curves must map at least one recipe to its curve, got {short_repr(curves)}"
        )
    checked = {name: check_points(f"curves[{name!r}]", each) for name, each in curves.items()}
    alone = check_points("dedicated", dedicated)
    if not alone or not all(checked.values()):
        raise ValueError("curves and dedicated must have a width each, got one that has none")
    recommended, title = check_text("recommended", recommended), check_label("title", title)
    if recommended is not None and recommended not in checked:
        raise ValueError(f"recommended must be one of {list(checked)}, got {recommended!r}")
    scale, lowest = check_number("scale", scale), check_number("lowest", lowest)
    figure = make_subplots(1, 2, column_widths=[0.5, 0.5], horizontal_spacing=0.1)
    mean = seed_means(alone)
    own = {width: [v - mean[width] for v in values] for width, values in alone.items()}
    for column, points in enumerate((alone, own), 1):
        trace = _recipe_trace(style.DEDICATED, points, scale)
        figure.add_trace(trace.update(mode="markers"), 1, column)
    labels = short_labels(list(checked), _LONGEST)
    for index, ((name, points), label) in enumerate(zip(checked.items(), labels, strict=True)):
        look = run_style(index, len(checked), label)
        if name == recommended:
            look = replace(style.VARIABLE, name=label)
        gaps = {w: [each - mean[w]] for w, each in seed_means(points).items() if w in mean}
        figure.add_trace(_recipe_trace(look, points, scale), 1, 1)
        figure.add_trace(_recipe_trace(look, gaps, scale), 1, 2)
    figure.update_traces(showlegend=False, col=2)
    most = max(max(points) for points in [alone, *checked.values()])
    figure.update_layout(template=style.TEMPLATE, width=style.PAGE, height=440)
    figure.update_layout(title=title, legend=LEGEND_ABOVE, margin_t=84 if title else 44)
    figure.update_xaxes(style.log2_axis(most, "width (units kept)"))
    figure.update_yaxes(title="test accuracy, %", row=1, col=1)
    figure.update_yaxes(title="points above dedicated networks", row=1, col=2)
    highest = max(max(trace.y) for trace in figure.select_traces(col=2))
    figure.update_yaxes(range=[lowest, max(0.5, 1.15 * highest)], row=1, col=2)
    return figure


def _recipe_trace(look: style.Style, points: Points, scale: float) -> go.Scatter:
    trace = seed_points(look, points, scale, size=7)
    trace.update(mode="lines+markers", line=look.line, error_y_thickness=1.2)
    return trace.update(legendgroup=look.name, hovertemplate="%{x} units: %{y:.2f}")
