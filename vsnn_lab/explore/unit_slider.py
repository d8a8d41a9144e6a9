"""A slider over the values of one unit of a code."""

import ipywidgets as widgets
import traitlets

from vsnn_lab.explore.controls import unobserved

_POSITIONS = 200
_NONE = "–"  # noqa: RUF001 - a dash: no number


class UnitSlider(widgets.HBox):
    """A slider between two numbers with a home: a value that it shows and returns to exactly.

    Its positions are integers for the browser, which sends other numbers back rounded to a step,
    as if a hand had moved the slider.

    Args:
        description: Label on its left.
        low: Value at its left end.
        high: Value at its right end, above ``low``.

    Attributes:
        value: A float; observe it.
        position: The slider that is moved, from 0 to 200.
    """

    value = traitlets.Float()

    def __init__(self, description: str, low: float, high: float) -> None:
        wide = {"flex": "1 1 auto", "width": "auto"}
        self.position = widgets.IntSlider(
            0, 0, _POSITIONS, description=description, readout=False, layout=wide
        )
        self.number = widgets.Label(layout={"flex": "0 0 auto", "width": "64px"})
        super().__init__([self.position, self.number], layout={"overflow": "hidden"})
        self.position.observe(self._read_position, "value")
        self.set_range(low, high, low)

    @property
    def disabled(self) -> bool:
        """Whether it cannot be moved; it shows no number then."""
        return self.position.disabled

    @disabled.setter
    def disabled(self, disabled: bool) -> None:
        self.position.disabled = disabled
        self._show()

    def set_range(self, low: float, high: float, home: float, value: float | None = None) -> None:
        """Give it other ends, widened to hold what it shows, and a home; by default go there."""
        value = home if value is None else value
        self.low, self.high, self._home = min(low, home, value), max(high, home, value), home
        self.value = value
        self._show()

    def _position_of(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low)
        return round(min(max(share, 0), 1) * _POSITIONS)

    def _read_position(self, change: object) -> None:
        place = self.position.value
        value = self.low + (self.high - self.low) * place / _POSITIONS
        self.value = self._home if place == self._position_of(self._home) else value

    @traitlets.observe("value")
    def _show(self, change: object = None) -> None:
        with unobserved(self.position, self._read_position):
            self.position.value = self._position_of(self.value)
        self.number.value = _NONE if self.disabled else f"{self.value:+.2f}"
