"""Many runs in one picture: their curves over width, and what their parameters did."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from vsnn_lab._basics.checks import check_collection, check_number, short_repr
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_curve, check_text
from vsnn_lab.figures.labels import LETTER, LINE, as_label, check_label, short_labels, spaced
from vsnn_lab.figures.metric import Metric, check_metric

if TYPE_CHECKING:
    import pandas as pd

# From dark to light, and all of it 3:1 from a light page and from a dark one.
_SCALE = ("#4d63c8", "#a3569b", "#cc8019")
_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
_HEIGHT = 420  # pixels of the screen, without the legend
_LONGEST = 36  # letters of a name in the legend
_SWATCH = 46  # pixels of the screen for a legend's line beside its name
_MOST_TICKS = 6  # values of a parameter that are all ticks


def overlay_curves(
    curves: Mapping[str, Mapping[int, float]],
    *,
    metric: Metric | None = None,
    scale: float | None = None,
    label: str | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw a metric against width for many runs.

    Runs differ by colour, dash and symbol, in the order given. The legend shortens long names; they
    are whole where the mouse points.

    Args:
        curves: Metric by width for each run, by the run's name.
        metric: What the values measure, as `vsnn_lab.headless.runs.metrics` has it for a run.
        scale: Factor on all values; by default the metric's, or 1.
        label: Name and unit on the axis; by default the metric's.
        title: Above the figure.

    Returns:
        A figure of 840 pixels width, with 420 for the curves and more for the legend.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there are no curves, or a curve has no width.

    Example:
        >>> figure = overlay_curves({"SEED=0": {1: 0.5, 2: 0.3}, "SEED=1": {1: 0.6, 2: 0.2}})
        >>> [trace.name for trace in figure.data]
        ['SEED=0', 'SEED=1']
    """
    checked = check_curves(curves)
    scale, label = check_shown_as(metric, scale, label)
    title = check_label("title", title)
    figure = go.Figure()
    names = short_labels(list(checked), _LONGEST)
    for index, ((full, curve), name) in enumerate(zip(checked.items(), names, strict=True)):
        look, values = run_style(index, len(checked), name), curve.values()
        trace = style.curve_trace(look, list(curve), [value * scale for value in values])
        hover = "%{text}<br>%{x} units: %{y:.4~g}<extra></extra>"
        figure.add_trace(trace.update(text=as_label(full), hovertemplate=hover))
    most = max(max(curve) for curve in checked.values())
    # Below the curves, whose width is then the same for all names; one name is told as well.
    in_a_row = max(1, int(style.PAGE / (_SWATCH + LETTER * max(map(len, names)))))
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": -0.19, "yanchor": "top"}
    height = _HEIGHT + LINE * -(-len(names) // in_a_row)
    figure.update_layout(template=style.TEMPLATE, width=style.PAGE, height=height, title=title)
    figure.update_layout(showlegend=True, legend=legend, margin_b=56 + height - _HEIGHT)
    figure.update_xaxes(style.log2_axis(most, "width (units kept)"))
    figure.update_yaxes(rangemode="tozero", title=None if label is None else as_label(label))
    return figure


def check_curves(curves: Any) -> dict[str, dict[int, float]]:
    """Return the curves of runs, widths ascending, or say what is wrong with them."""
    if not isinstance(curves, Mapping):
        raise TypeError(f"curves must map names of runs to curves, got {short_repr(curves)}")
    checked = {name: check_curve(f"curves[{name!r}]", curve) for name, curve in curves.items()}
    if not checked or not all(checked.values()):
        raise ValueError(
            f"curves must hold at least one run, each with a width, got {short_repr(curves)}"
        )
    return checked


def check_shown_as(
    metric: Metric | None, scale: float | None, label: str | None
) -> tuple[float, str | None]:
    """Return factor and label of an axis: those given, or else the metric's."""
    metric, label = check_metric("metric", metric), check_text("label", label)
    if metric is None:
        return check_number("scale", 1.0 if scale is None else scale), label
    scale = metric.scale if scale is None else check_number("scale", scale)
    return scale, metric.label if label is None else label


def parallel_parameters(
    table: "pd.DataFrame",
    parameters: Sequence[str],
    metric: str,
    *,
    measures: Metric | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw each run as a line through its parameters to its result, an axis each.

    A line has the colour of its result, lighter for a better one.

    Args:
        table: A row a run, as from `vsnn_lab.headless.runs.load_runs`.
        parameters: Columns of what was varied; texts are drawn as classes.
        metric: Column of the result, the last axis; rows without it are left out.
        measures: What that column measures; of others the largest value is the lightest line.
        title: Above the figure.

    Returns:
        A figure of 840 by 380 pixels.

    Raises:
        TypeError: If the table is none of pandas.
        ValueError: If a column is missing, or no row has the metric.
    """
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table must be a pandas table, got {type(table).__name__}")
    check_collection("parameters", parameters, "columns", hint='["SEED"] is a single column')
    for name in chain(parameters, [metric]):
        if not isinstance(name, str):
            raise TypeError(f"parameters and metric must name columns, got {short_repr(name)}")
        if name not in table:
            raise ValueError(f"table must have the column {name!r}, got {list(table.columns)}")
    title, rows = check_label("title", title), table.dropna(subset=[metric])
    if rows.empty:
        raise ValueError(f"table must have a row with {metric!r}, got none")
    scale, label = check_shown_as(check_metric("measures", measures), None, None)
    columns = [*(rows[name] for name in parameters), rows[metric] * scale]
    names = [*parameters, label or metric]
    axes = [_axis_shares(column) for column in columns]
    colors = axes[-1][0] if measures is None or measures.better == "higher" else 1 - axes[-1][0]
    figure = go.Figure()
    for run, color in enumerate(np.nan_to_num(colors)):
        values = zip(names, columns, strict=True)
        told = [f"{name}: {_value_text(column.iloc[run])}" for name, column in values]
        figure.add_scatter(
            x=list(range(len(axes))),
            y=[shares[run] for shares, _ in axes],
            line={"color": sample_colorscale(_SCALE, [color])[0], "width": 1.5},
            marker={"size": 5},
            text="<br>".join(map(as_label, told)),
            hovertemplate="%{text}<extra></extra>",
        )
    for place, (_, ticks) in enumerate(axes):
        for text, share in zip(short_labels(list(ticks), 14), ticks.values(), strict=True):
            # Beside and above, where the lines that meet there leave room; nothing is right of the
            # last axis.
            beside = {"xanchor": "right", "xshift": -3, "yanchor": "bottom"}
            if place == len(axes) - 1:
                beside = {"xanchor": "left", "xshift": 6, "yanchor": "middle"}
            where = {"x": place, "y": share, "showarrow": False, "borderpad": 0}
            figure.add_annotation(text=text, font_size=12, **where, **beside)
    if measures is not None:
        below = {"x": len(axes) - 1, "y": 0, "yanchor": "top", "yshift": -8, "showarrow": False}
        figure.add_annotation(text=f"{measures.better} is better", **below)
    figure.update_layout(template=style.TEMPLATE, width=style.PAGE, height=380, title=title)
    figure.update_layout(showlegend=False, margin={"l": 16, "r": 16, "t": 84 if title else 48})
    letters = int(style.PAGE / len(axes) / LETTER)
    figure.update_xaxes(
        {"side": "top", "range": [-0.45, len(axes) - 0.55], "ticks": "", "showline": False}
        # The grid's lines are the axes.
        | {"gridcolor": style.TEXT_COLOR, "gridwidth": 1.5, "tickvals": list(range(len(axes)))},
        ticktext=short_labels(names, letters),
    )
    return figure.update_yaxes(visible=False, range=[-0.04, 1.08])


def run_style(index: int, runs: int, name: str) -> style.Style:
    """Return how one of several runs looks, by its place among them."""
    color = sample_colorscale(_SCALE, [index / (runs - 1) if runs > 1 else 0.5])[0]
    symbol, dash = _SYMBOLS[index % len(_SYMBOLS)], _DASHES[index % len(_DASHES)]
    return style.Style(name, color, symbol, dash)


def _axis_shares(column: "pd.Series[Any]") -> tuple[np.ndarray, dict[str, float]]:
    """Return where each value lies on an axis from 0 to 1, and its ticks; nan for no number."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(float, na_value=np.nan)
        values = np.where(np.isfinite(values), values, np.nan)
        marks = np.unique(values[~np.isnan(values)])
        if len(marks) > _MOST_TICKS:
            marks = np.linspace(marks[0], marks[-1], _MOST_TICKS - 1)
        texts = [f"{mark:.4g}" for mark in marks]
    else:
        texts = sorted(map(str, column.unique()))
        values = np.array([texts.index(str(value)) for value in column], float)
        marks = np.arange(len(texts), dtype=float)
    low, high = (marks[0], marks[-1]) if len(marks) else (0.0, 0.0)
    # A value that all runs share stands in the middle.
    values, marks = (
        (v - low) / (high - low) if high > low else v * 0 + 0.5 for v in (values, marks)
    )
    return values, {texts[index]: marks[index] for index in spaced(marks.tolist(), 0.07)}


def _value_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
