"""Many runs in one picture: their curves over width, and what their parameters did."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from vsnn_lab._basics.checks import check_collection, check_number, short_repr
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_curve, check_text
from vsnn_lab.figures.metric import Metric, check_metric

if TYPE_CHECKING:
    import pandas as pd

# From dark to light but not to either end, which a dark or a light page would swallow.
_SCALE, _DARKEST, _LIGHTEST = "Viridis", 0.15, 0.85
_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


def overlay_curves(
    curves: Mapping[str, Mapping[int, float]],
    *,
    metric: Metric | None = None,
    scale: float | None = None,
    label: str | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw a metric against width for many runs.

    Runs differ by colour, dash and symbol, in the order given.

    Args:
        curves: Metric by width for each run, by the run's name.
        metric: What the values measure, as `vsnn_lab.headless.runs.metrics` has it for a run.
        scale: Factor on all values; by default the metric's, or 1.
        label: Name and unit on the axis; by default the metric's.
        title: Above the figure.

    Returns:
        A figure of 900 by 420 pixels.

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
    title = check_text("title", title)
    figure = go.Figure()
    for index, (name, curve) in enumerate(checked.items()):
        look, values = run_style(index, len(checked), name), curve.values()
        figure.add_trace(style.curve_trace(look, list(curve), [value * scale for value in values]))
    most = max(max(curve) for curve in checked.values())
    # Beside the curves, since many names would cover them; one name is told as well.
    legend = {"x": 1.02, "xanchor": "left"}
    figure.update_layout(template=style.TEMPLATE, width=900, height=420, title=title)
    figure.update_layout(showlegend=True, legend=legend)
    figure.update_xaxes(style.log2_axis(most, "width (units kept)"))
    figure.update_yaxes(rangemode="tozero", title=label)
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
    """Draw each run as a line through its parameters to its result.

    Args:
        table: A row a run, as from `vsnn_lab.headless.runs.load_runs`.
        parameters: Columns of what was varied; texts are drawn as classes.
        metric: Column of the result, the last axis and the colour; rows without it are left out.
        measures: What that column measures; the better a value, the lighter its line.
        title: Above the figure.

    Returns:
        A figure of 900 by 380 pixels.

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
    title, rows = check_text("title", title), table.dropna(subset=[metric])
    if rows.empty:
        raise ValueError(f"table must have a row with {metric!r}, got none")
    axes = [_parallel_axis(name, rows[name]) for name in parameters]
    scale, label = check_shown_as(check_metric("measures", measures), None, None)
    values = rows[metric] * scale
    result = {"label": label or metric, "values": values, "range": _column_range(values)}
    axes.append(result | {"tickformat": ".4~g"})
    color = {"color": values, "colorscale": _SCALE, "showscale": True}
    if measures is not None:
        color |= {"reversescale": measures.better == "lower"}
        color["colorbar"] = {"title": f"{measures.better} is better"}
    figure = go.Figure(go.Parcoords(dimensions=axes, line=color))
    figure.update_layout(template=style.TEMPLATE, width=900, height=380, title=title)
    return figure.update_layout(margin={"l": 80, "r": 40, "t": 64})


def run_style(index: int, runs: int, name: str) -> style.Style:
    """Return how one of several runs looks, by its place among them."""
    share = index / (runs - 1) if runs > 1 else 0.5
    at = _DARKEST + share * (_LIGHTEST - _DARKEST)
    color = sample_colorscale(_SCALE, [at])[0]
    symbol, dash = _SYMBOLS[index % len(_SYMBOLS)], _DASHES[index % len(_DASHES)]
    return style.Style(name, color, symbol, dash)


def _parallel_axis(name: str, column: "pd.Series[Any]") -> dict[str, Any]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        values = sorted(column.unique().tolist())
        ticks = {"tickvals": values} if len(values) <= 8 else {}
        return {"label": name, "values": column, "range": _column_range(column)} | ticks
    classes = sorted(map(str, column.unique()))
    places = [classes.index(str(value)) for value in column]
    ticks = {"tickvals": list(range(len(classes))), "ticktext": classes}
    return {"label": name, "values": places, "range": [-0.5, len(classes) - 0.5]} | ticks


def _column_range(column: "pd.Series[Any]") -> list[float]:
    """Return an axis' ends, with room for a value that all rows share."""
    low, high = float(column.min()), float(column.max())
    room = 0.5 * abs(low) or 1.0
    return [low, high] if low < high else [low - room, high + room]
