"""A slider over the values of one unit of a code."""

import ipywidgets as widgets
import traitlets

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
        self.position = widgets.IntSlider(
            0,
            0,
            _POSITIONS,
            description=description,
            readout=False,
            layout={"flex": "1 1 auto", "width": "auto"},
        )
        self.number = widgets.Label(layout={"flex": "0 0 auto", "width": "64px"})
        super().__init__([self.position, self.number], layout={"overflow": "hidden"})
        self.low, self.high, self._home, self._quiet = low, high, low, False
        self.position.observe(lambda change: self._take(), "value")
        self.put(low, high, low)

    @property
    def disabled(self) -> bool:
        """Whether it cannot be moved; it shows no number then."""
        return self.position.disabled

    @disabled.setter
    def disabled(self, disabled: bool) -> None:
        self.position.disabled = disabled
        self._show()

    def put(self, low: float, high: float, home: float, value: float | None = None) -> None:
        """Give it other ends, widened to hold what it shows, and a home; by default go there."""
        value = home if value is None else value
        self.low, self.high, self._home = min(low, home, value), max(high, home, value), home
        self.value = value
        self._show()

    def _at(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low)
        return round(min(max(share, 0), 1) * _POSITIONS)

    def _take(self) -> None:
        if not self._quiet:
            place = self.position.value
            value = self.low + (self.high - self.low) * place / _POSITIONS
            self.value = self._home if place == self._at(self._home) else value

    @traitlets.observe("value")
    def _follow(self, change: object) -> None:
        self._show()

    def _show(self) -> None:
        self._quiet = True
        self.position.value = self._at(self.value)
        self._quiet = False
        self.number.value = _NONE if self.disabled else f"{self.value:+.2f}"
