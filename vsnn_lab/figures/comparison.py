"""The error of several methods at each code width, and how it compares to ordinary networks."""

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vsnn_lab._basics.checks import check_number
from vsnn_lab.figures import style
from vsnn_lab.figures.labels import check_label
from vsnn_lab.figures.seeds import Curves, Points, check_methods, method_traces, seed_means

ERROR_LABEL = "test MSE per pixel × 1000"
WIDTH_LABEL = "code width (units)"
LEGEND_ABOVE = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}


def comparison_curves(
    curves: Curves,
    *,
    scale: float = 1000.0,
    label: str = ERROR_LABEL,
    title: str | None = None,
) -> go.Figure:
    """Draw the error of each method against the code width; beside it, the ratio to dedicated ones.

    Lines run through the mean over seeds, in a band from the least to the largest; networks that
    are trained for one width alone are points with whiskers instead. The ratio is drawn if there
    are such networks, at their widths: each seed over their mean, so that their own whiskers
    around 1 show what a seed may change.

    Args:
        curves: Error by width for each method, one number or one a seed: "variable" (network),
            "dedicated" (a network for each width), "pca" and "pcaae".
        scale: Factor on all errors.
        label: Name and unit of the error on the axis.
        title: Above the figure.

    Returns:
        A figure of 840 by 420 pixels.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If a method is unknown, an error is negative, or dedicated networks have none.

    Example:
        >>> figure = comparison_curves({"variable": {1: 0.04, 2: 0.03}, "dedicated": {2: 0.025}})
        >>> [panel.title.text for panel in figure.select_yaxes()]
        ['test MSE per pixel × 1000', 'ratio to dedicated networks']
    """
    methods = check_methods("curves", curves)
    scale, title = check_number("scale", scale, 0), check_label("title", title)
    dedicated = "dedicated" in methods
    widths = [0.56, 0.44] if dedicated else [1]
    figure = make_subplots(1, len(widths), column_widths=widths, horizontal_spacing=0.1)
    for method, points in methods.items():
        figure.add_traces(method_traces(method, points, scale), rows=1, cols=1)
    most = max(max(points) for points in methods.values())
    axis = style.log2_axis(most, WIDTH_LABEL)
    figure.update_layout(template=style.TEMPLATE, width=style.PAGE, height=420, title=title)
    figure.update_layout(legend=LEGEND_ABOVE, margin_t=76 if title else 44)
    figure.update_xaxes(axis, row=1, col=1)
    # From zero, not logarithmic: heights are then what the errors are, and a small remainder looks
    # small. What a log axis would show better, equal ratios, has a panel of its own.
    figure.update_yaxes(rangemode="tozero", title=check_label("label", label), row=1, col=1)
    if dedicated:
        ends = [10**end for end in axis["range"]]
        level = go.Scatter(x=ends, y=[1, 1], mode="lines", line=style.REFERENCE.line)
        figure.add_trace(level.update(name="ratio 1", hoverinfo="skip"), 1, 2)
        for method, points in _ratios(methods).items():
            figure.add_traces(method_traces(method, points), rows=1, cols=2)
        figure.update_traces(showlegend=False, col=2)
        figure.update_xaxes(axis, row=1, col=2)
        # The line at 1 is what a ratio is measured from, so that zero need not be in sight.
        figure.update_yaxes(title=f"ratio to {style.DEDICATED.name}", row=1, col=2)
    return figure


def _ratios(methods: Mapping[str, Points]) -> dict[str, dict[int, list[float]]]:
    """Divide every seed by the mean of the dedicated networks, where there are some."""
    base = seed_means(methods["dedicated"])
    for width, value in base.items():
        if value == 0:
            raise ValueError(
                f"curves['dedicated'] must be above 0 to be divided by, got 0 at {width}"
            )
    return {
        method: ratios
        for method, points in methods.items()
        if (ratios := {w: [v / base[w] for v in points[w]] for w in points if w in base})
    }
