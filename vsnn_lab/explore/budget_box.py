"""Ask for a width by what it may cost, or by what it has to reach."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import ipywidgets as widgets
import numpy as np

from vsnn_lab.explore.controls import unobserved
from vsnn_lab.measure.ablation import WidthSweep
from vsnn_lab.measure.budgets import choose_width

_PERCENT = 100
# Accuracies are means of float32, and a goal is typed as what the read-out shows: so both are
# rounded to decimals that count far less than a sample.
_DECIMALS = 6
_LABELS = {
    "parameters, at most": "parameters",
    "MACs, at most": "macs",
    "latency in ms, at most": "latency_ms",
    "accuracy in %, at least": "accuracy",
}


class BudgetBox(widgets.HBox):
    """A menu of budgets, a number and a button; it tells which width they ask for.

    A cost asks for the largest width within it, a goal for the accuracy for the smallest one that
    reaches it; see `vsnn_lab.choose_width`.

    Args:
        sweep: Accuracy, parameters and multiply-accumulates at every width.
        latency_ms: Latency at those widths that were timed.

    Attributes:
        kind: The menu: "parameters", "macs", "latency_ms" or "accuracy" (in percent).
        number: The field.
        button: Asks again with the same number.
        width: The width shown; what it has is the number that another kind of budget starts with.
    """

    def __init__(self, sweep: WidthSweep, latency_ms: Mapping[int, float]) -> None:
        self.sweep = replace(sweep, values=sweep.values.round(_DECIMALS))
        self.width = sweep.steps
        timed = np.array(list(latency_ms))
        costs = {"latency_ms": np.array(list(latency_ms.values()))}
        self.timed = WidthSweep(
            "accuracy", timed, self.sweep.values[timed - 1], sweep.steps, **costs
        )
        self._callback: Callable[[], object] = lambda: None
        self.kind = widgets.Dropdown(
            options=_LABELS.items(), description="budget", layout={"width": "270px"}
        )
        # Told at Enter or when it is left, not with every digit on the way.
        self.number = widgets.FloatText(continuous_update=False, layout={"width": "120px"})
        self.number.value = self._starting_number(self.kind.value)
        self.button = widgets.Button(
            description="Go", tooltip="Move the slider to this width", layout={"width": "52px"}
        )
        self.rule = widgets.HTML(layout={"flex": "1 1 auto"})
        self._show_rule()
        self.kind.observe(self._change_kind, "value")
        self.number.observe(self._submit, "value")
        self.button.on_click(self._submit)
        super().__init__(
            [self.kind, self.number, self.button, self.rule],
            layout={"align_items": "center", "width": "100%", "overflow": "hidden"},
        )

    def on_submit(self, callback: Callable[[], object]) -> None:
        """Call something whenever a budget is asked for."""
        self._callback = callback

    def choose(self) -> tuple[int, str]:
        """Return the width that the menu and the number ask for, and what it has, in words.

        Raises:
            TypeError: If the number is none.
            ValueError: If no width will do; the message names the nearest one and what it lacks.
        """
        kind, number = self.kind.value, self.number.value
        if kind == "accuracy":
            width = choose_width(self.sweep, min_metric=round(number / _PERCENT, _DECIMALS))
            return width, f"the first to reach {number:g} %, with {self._describe(kind, width)}"
        sweep = self.timed if kind == "latency_ms" else self.sweep
        width = choose_width(sweep, **{f"max_{kind}": number})
        return width, f"the last with {self._describe(kind, width)}, within {number:,.10g}"

    def nearest_timed(self, width: int) -> int:
        """Return the timed width that is nearest to a width."""
        return min(self.timed.widths.tolist(), key=lambda timed: abs(timed - width))

    def _describe(self, kind: str, width: int) -> str:
        if kind == "accuracy":
            return f"{self.sweep.at(width):.2%}"
        if kind == "latency_ms":
            return f"{self.timed.cost(kind, width):.3f} ms"
        return f"{self.sweep.cost(kind, width):,} {'MACs' if kind == 'macs' else kind}"

    def _starting_number(self, kind: str) -> float:
        """Return what the width shown has, rounded to a number that it still meets."""
        if kind == "accuracy":
            return math.floor(round(self.sweep.at(self.width) * 1e4, 2)) / _PERCENT
        if kind == "latency_ms":
            return math.ceil(self.timed.cost(kind, self.nearest_timed(self.width)) * 1000) / 1000
        return float(self.sweep.cost(kind, self.width))

    def _submit(self, event: object) -> None:
        self._callback()

    def _change_kind(self, change: object) -> None:
        """Start another kind of budget with what the width shown has, and move nothing."""
        with unobserved(self.number, self._submit):
            self.number.value = self._starting_number(self.kind.value)
        self._show_rule()

    def _show_rule(self) -> None:
        text = "takes the largest width within it"
        if self.kind.value == "latency_ms":
            text = f"takes the largest within it of the {len(self.timed.widths)} widths timed"
        if self.kind.value == "accuracy":
            text = "takes the smallest width that reaches it"
        self.rule.value = f'<span style="font-size:11px;opacity:.72">{text}</span>'
