"""Pick runs and lay their curves over each other."""

from collections.abc import Mapping
from html import escape

import ipywidgets as widgets
import plotly.graph_objects as go

from vsnn_lab._basics.checks import check_number
from vsnn_lab.explore.figure_box import FigureBox
from vsnn_lab.figures.checks import check_curve, check_text
from vsnn_lab.figures.overlay import overlay_curves

_ROWS = 8  # names in sight


class RunsExplorer(FigureBox):
    """An instrument for many runs: a list to pick from, and the curves of those picked.

    A curve keeps its colour, and the axes stay, whichever others are shown.

    Args:
        curves: Metric by width for each run, by the run's name.
        scale: Factor on all values.
        label: Name and unit of the metric on the axis.

    Attributes:
        picker: The list; its value holds the names picked. All are at first.
        best: Below the figure: for each width the run of the lowest value among those picked.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there are no curves, or a curve has no width.
    """

    def __init__(
        self,
        curves: Mapping[str, Mapping[int, float]],
        *,
        scale: float = 1.0,
        label: str | None = None,
    ) -> None:
        self._all_runs = overlay_curves(curves, scale=scale, label=label)
        self.curves = {name: check_curve(name, curve) for name, curve in curves.items()}
        self.scale, self.label = check_number("scale", scale), check_text("label", label)
        top = max(max(curve.values()) for curve in self.curves.values()) * self.scale
        self._all_runs.update_yaxes(range=[0, top * 1.08])
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
        text = f"lowest at so many of {len(found)} widths: {names}"
        self.best.value = text if found else "no run picked"

    def best_at(self) -> dict[int, str]:
        """Return the run of the lowest value at each width, among those picked."""
        picked = {name: self.curves[name] for name in self.picker.value}
        widths = sorted({width for curve in picked.values() for width in curve})
        return {
            width: min((c[width], name) for name, c in picked.items() if width in c)[1]
            for width in widths
        }

    def static_figure(self) -> go.Figure:
        """Return what the instrument shows as a figure for headless runs, reports and print."""
        picked = [trace for trace in self._all_runs.data if trace.name in self.picker.value]
        return go.Figure(picked, self._all_runs.layout)
