"""Pick runs and lay their curves over each other."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import traitlets

from vsnn_lab._basics.checks import check_collection, check_int
from vsnn_lab.explore.instrument import Instrument, Position
from vsnn_lab.explore.parts import counts, curves, series, width_control
from vsnn_lab.figures.metric import Metric
from vsnn_lab.figures.overlay import check_curves, check_shown_as, run_style


class RunsExplorer(Instrument):
    """An instrument for many runs: names to pick from, the curves of those picked, and the best.

    A curve keeps its colour, and the axes stay, whichever others are shown.

    Args:
        curves: Metric by width for each run, by the run's name.
        metric: What the values measure, and so which run is the best: of the lowest value or of the
            highest. Without one the lowest are named, and called no more than that.
        scale: Factor on all values; by default the metric's, or 1.
        label: Name and unit on the axis; by default the metric's.

    Attributes:
        width: The width at which runs are compared; set it, or observe it.
        picked: Places of the runs shown, in the order given; all at first. So with it.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there are no curves, or a curve has no width.
    """

    width = Position().tag(sync=True)
    picked: traitlets.List[Any] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        curves: Mapping[str, Mapping[int, float]],
        *,
        metric: Metric | None = None,
        scale: float | None = None,
        label: str | None = None,
    ) -> None:
        self.curves, self.metric = check_curves(curves), metric
        self.scale, self.label = check_shown_as(metric, scale, label)
        description, arrays = self._describe()
        most = description["controls"][1]["of"]
        super().__init__(description, arrays, width=most, picked=list(range(len(self.curves))))

    def best_at(self) -> dict[int, str]:
        """Return the run of the best value at each width, or the lowest, among those picked."""
        picked = {[*self.curves][i]: [*self.curves.values()][i] for i in self.picked}
        widths = sorted({width for curve in picked.values() for width in curve})
        return {
            width: min((self._rank(c[width]), name) for name, c in picked.items() if width in c)[1]
            for width in widths
        }

    @traitlets.validate("picked")
    def _check_picked(self, proposal: dict[str, Any]) -> list[int]:
        picked = check_collection("picked", proposal["value"], "places of runs")
        most = len(self.curves) - 1
        return sorted({check_int("each of picked", place, 0, most) for place in picked})

    def _describe(self) -> tuple[dict[str, Any], dict[str, Any]]:
        names = list(self.curves)
        widths = sorted({width for curve in self.curves.values() for width in curve})
        lines = [
            series(run_style(i, len(names), name), [*c], [self.scale * v for v in c.values()])
            for i, (name, c) in enumerate(self.curves.items())
        ]
        # The place of each run at each width among all, and one beyond where it has none there.
        places = np.full((len(widths), len(names)), len(names))
        for row, width in enumerate(widths):
            there = [name for name in names if width in self.curves[name]]
            there.sort(key=lambda name: (self._rank(self.curves[name][width]), name))
            for place, name in enumerate(there):
                places[row, names.index(name)] = place
        shown = [value for line in lines for value in line["y"]]
        if not all(math.isfinite(1.08 * value) for value in shown):
            raise ValueError(f"scale must leave every value finite, got {self.scale}")
        # Zero is in sight, also of values below it; where all are zero there is an axis still.
        ends = [1.08 * min(0.0, *shown), 1.08 * max(0.0, *shown) or float(max(shown) == 0)]
        graph = curves([line | {"follow": True} for line in lines], widths[-1], self.label, ends)
        picker = {"type": "choices", "name": "picked", "label": "runs", "options": names}
        said = "lowest" if self.metric is None else f"best ({self.metric.extreme})"
        table = {"type": "ranking", "by": "width", "series": lines, "nowhere": len(names)}
        table |= {"places": "places", "picked": "picked", "says": said}
        description = {
            "kind": "runs",
            "label": "Runs by width",
            "controls": [
                picker | {"looks": [line | {"x": [], "y": []} for line in lines]},
                width_control("width", "width", widths, widths[-1]),
            ],
            "parts": [
                graph | {"picked": "picked"},
                table | {"unit": self.metric.unit if self.metric else ""},
            ],
            "actions": [],
        }
        return description, {"places": counts(places, "width")}

    def _rank(self, value: float) -> float:
        return value if self.metric is None else self.metric.rank(value)
