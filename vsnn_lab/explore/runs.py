"""Pick runs and lay their curves over each other."""

from collections.abc import Mapping
from html import escape

import ipywidgets as widgets
import plotly.graph_objects as go

from vsnn_lab.explore.figure_box import FigureBox
from vsnn_lab.figures.checks import check_curve
from vsnn_lab.figures.metric import Metric
from vsnn_lab.figures.overlay import check_shown_as, overlay_curves

_ROWS = 8  # names in sight


class RunsExplorer(FigureBox):
    """An instrument for many runs: a list to pick from, and the curves of those picked.

    A curve keeps its colour, and the axes stay, whichever others are shown.

    Args:
        curves: Metric by width for each run, by the run's name.
        metric: What the values measure, and so which run is the best: of the lowest value or of the
            highest. Without one the lowest are named, and called no more than that.
        scale: Factor on all values; by default the metric's, or 1.
        label: Name and unit on the axis; by default the metric's.

    Attributes:
        picker: The list; its value holds the names picked. All are at first.
        best: Below the figure: at how many widths each run is the best of those picked.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there are no curves, or a curve has no width.
    """

    def __init__(
        self,
        curves: Mapping[str, Mapping[int, float]],
        *,
        metric: Metric | None = None,
        scale: float | None = None,
        label: str | None = None,
    ) -> None:
        self._all_runs = overlay_curves(curves, metric=metric, scale=scale, label=label)
        self.metric = metric
        self.curves = {name: check_curve(name, curve) for name, curve in curves.items()}
        self.scale, self.label = check_shown_as(metric, scale, label)
        shown = [self.scale * value for curve in self.curves.values() for value in curve.values()]
        ends = min(0.0, *shown), max(0.0, *shown)
        self._all_runs.update_yaxes(range=[1.08 * end for end in ends])
        names = list(self.curves)
        self.picker = widgets.SelectMultiple(
            options=names,
            value=names,
            rows=min(len(names), _ROWS),
            description="runs",
            layout={"width": "900px"},
        )
        self.figure = go.FigureWidget(self._all_runs)
        self.best = widgets.HTML()
        self.show()
        self.picker.observe(lambda change: self.show(), "value")
        super().__init__([self.picker, self.figure, self.best], layout={"max_width": "916px"})

    def show(self) -> None:
        """Draw the runs picked: the list's callback."""
        with self.figure.batch_update():
            for trace in self.figure.data:
                trace.visible = trace.name in self.picker.value
        found = list(self.best_at().values())
        # How often each run is the best one: all widths would be too long a list.
        counted = sorted({name: found.count(name) for name in found}.items(), key=lambda n: -n[1])
        names = ", ".join(f"{escape(name)} ({count})" for name, count in counted)
        said = "lowest" if self.metric is None else f"best ({self.metric.extreme})"
        text = f"{said} at so many of {len(found)} widths: {names}"
        self.best.value = text if found else "no run picked"

    def best_at(self) -> dict[int, str]:
        """Return the run of the best value at each width, or the lowest, among those picked."""
        rank = float if self.metric is None else self.metric.rank
        picked = {name: self.curves[name] for name in self.picker.value}
        widths = sorted({width for curve in picked.values() for width in curve})
        return {
            width: min((rank(c[width]), name) for name, c in picked.items() if width in c)[1]
            for width in widths
        }

    def static_figure(self) -> go.Figure:
        """Return what the instrument shows as a figure for headless runs, reports and print."""
        picked = [trace for trace in self._all_runs.data if trace.name in self.picker.value]
        return go.Figure(picked, self._all_runs.layout)
