"""Curves over width."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from vsnn_lab._basics.checks import check_flag, check_number
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_curve, check_points, check_sweep
from vsnn_lab.figures.labels import as_label, check_label
from vsnn_lab.figures.seeds import seed_points
from vsnn_lab.measure.ablation import WidthSweep


def sweep_figure(
    sweep: WidthSweep,
    *,
    label: str | None = None,
    scale: float = 1.0,
    fraction: bool = False,
    dedicated: Mapping[int, float | Sequence[float]] | None = None,
    plain: float | None = None,
    pca: Mapping[int, float] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw a metric against width, with what it should be compared to.

    Args:
        sweep: The variable network's metric.
        label: Name and unit of the metric on the axis; by default its own name.
        scale: Factor on all values, such as 1000 for a small mean square error.
        fraction: Draw over the share of the width on a linear axis; by default over widths on a
            log2 axis.
        dedicated: Metric of a network trained at one width, by width; several values (one a
            seed) become a point with whiskers from the least to the largest.
        plain: Metric of a plain network of full width, a horizontal line.
        pca: Metric of principal components, by their number.
        title: Above the figure.

    Returns:
        A figure of 840 by 420 pixels on a transparent ground.
    """
    check_sweep(sweep)
    over = sweep.steps if check_flag("fraction", fraction) else 1
    scale = check_number("scale", scale)
    points, components = check_points("dedicated", dedicated), check_curve("pca", pca)
    title, label = check_label("title", title), check_label("label", label)
    figure = go.Figure(variable_curve(sweep, scale, over))
    if plain is not None:
        level = check_number("plain", plain) * scale
        ends = [sweep.widths[0] / over, sweep.widths[-1] / over]
        look = style.PLAIN
        figure.add_scatter(x=ends, y=[level, level], name=look.name, mode="lines", line=look.line)
    if points:
        trace = seed_points(style.DEDICATED, points, scale, size=10)
        figure.add_trace(trace.update(x=np.array(list(points)) / over))
    if components:
        x, y = np.array(list(components)) / over, np.array(list(components.values())) * scale
        figure.add_trace(style.curve_trace(style.PCA, x, y))
    figure.update_layout(template=style.TEMPLATE, width=style.PAGE, height=420, title=title)
    figure.update_xaxes(width_axis(sweep, fraction))
    figure.update_yaxes(rangemode="tozero", title=label or as_label(sweep.metric))
    return figure


def width_axis(sweep: WidthSweep, fraction: bool = False) -> dict[str, Any]:
    """Return the horizontal axis of a curve over width."""
    if fraction:
        return {"range": [-0.01, 1.02], "title": {"text": f"share of the {sweep.steps} units kept"}}
    return style.log2_axis(sweep.steps, "width (units kept)")


def variable_curve(sweep: WidthSweep, scale: float = 1.0, over: float = 1.0) -> go.Scatter:
    """Return the variable network's curve."""
    return style.curve_trace(style.VARIABLE, sweep.widths / over, sweep.values * scale)
