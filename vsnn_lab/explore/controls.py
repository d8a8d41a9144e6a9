"""What every instrument has: the width slider on top, the read-outs below."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

import ipywidgets as widgets
import traitlets

_PLAY_INTERVAL = 400  # milliseconds a width; slow enough to see what changed


def log2_positions(steps: int) -> list[int]:
    """Return widths evenly spaced in log2, an eighth of an octave apart where that is a new one.

    Example:
        >>> log2_positions(32)
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 19, 21, 23, 25, 27, 29, 32]
    """
    octaves = (steps - 1).bit_length()
    near = {round(2 ** (eighth / 8)) for eighth in range(8 * octaves + 1)}
    return sorted(width for width in near | {steps} if width <= steps)


@contextmanager
def unobserved(widget: widgets.Widget, handler: Callable[[Any], None]) -> Iterator[None]:
    """Change a widget's value without telling the handler that observes it."""
    widget.unobserve(handler, "value")
    try:
        yield
    finally:
        widget.observe(handler, "value")


class WidthSlider(widgets.HBox):
    """A slider over knob positions with a play button and a switch of spacing.

    Args:
        steps: Positions of the knob.
        value: Where it starts; by default at full width.
        description: Label on its left.

    Attributes:
        value: The position, an int in 1..steps; observe it.
    """

    value = traitlets.Int()

    def __init__(self, steps: int, value: int | None = None, description: str = "width") -> None:
        value = steps if value is None else value
        wide = {"flex": "1 1 auto", "width": "auto"}
        self.linear = widgets.IntSlider(value, 1, steps, description=description, layout=wide)
        self.log2 = widgets.SelectionSlider(
            options=log2_positions(steps), description=description, layout=wide
        )
        self.spacing = widgets.ToggleButtons(
            options=["linear", "log2"],
            tooltips=["every width, evenly spaced", "every doubling as far as the one before"],
            style={"button_width": "64px"},
            layout={"flex": "0 0 auto"},
        )
        self.play = widgets.Play(
            value=0, min=0, max=steps - 1, interval=_PLAY_INTERVAL, layout={"flex": "0 0 auto"}
        )
        super().__init__(
            [self.play, self.linear, self.spacing],
            layout={"align_items": "center", "width": "100%", "overflow": "hidden"},
        )
        self.value = value
        self._last_played: int | None = None
        for slider in (self.linear, self.log2):
            slider.observe(lambda change: self.set_trait("value", change.new), "value")
        self.play.observe(lambda change: self._play_next(change.new), "value")
        self.spacing.observe(lambda change: self._change_spacing(), "value")

    def _play_next(self, index: int) -> None:
        """Move with the play button, from wherever the slider was left."""
        positions = self.positions
        if self._last_played not in (None, self.value):
            # Moved by hand since the last tick. Catching up only now keeps a hand's move to one
            # message.
            index = (positions.index(self.value) + 1) % len(positions)
        self._last_played = positions[index]
        self.play.value = index
        self.value = self._last_played

    @property
    def active(self) -> widgets.Widget:
        """The slider that is shown."""
        return self.log2 if self.spacing.value == "log2" else self.linear

    @property
    def positions(self) -> list[int]:
        """The widths that the slider and the play button run through."""
        if self.active is self.log2:
            return list(self.log2.options)
        return list(range(1, self.linear.max + 1))

    @traitlets.observe("value")
    def _move_slider(self, change: object) -> None:
        if self.value not in self.positions:
            self.spacing.value = "linear"
        self.active.value = self.value

    def _change_spacing(self) -> None:
        nearest = min(self.positions, key=lambda width: abs(width - self.value))
        self.active.value = self.value = self._last_played = nearest
        with self.play.hold_trait_notifications():
            self.play.value = self.positions.index(nearest)
            self.play.max = len(self.positions) - 1
        self.children = [self.play, self.active, self.spacing]


class ReadOuts(widgets.HTML):
    """A line of numbers, each with its name and unit; it keeps its layout when they change."""

    def show(self, values: Mapping[str, tuple[str, str]]) -> None:
        """Show numbers.

        Args:
            values: By name, the number and what follows it in small print: a unit, a remark.
        """
        tiles = "".join(
            f'<div style="flex:1 1 0;min-width:112px">'
            f'<div style="font-size:11px;opacity:.72">{escape(name)}</div>'
            f'<div style="font-size:20px;line-height:1.25;font-variant-numeric:tabular-nums" '
            f'data-readout="{escape(name)}">{escape(number)}</div>'
            f'<div style="font-size:11px;opacity:.72">{escape(remark)}</div></div>'
            for name, (number, remark) in values.items()
        )
        self.value = (
            f'<div style="display:flex;gap:16px;padding:2px 8px;line-height:1.5;'
            f'color:var(--jp-ui-font-color1,inherit)">{tiles}</div>'
        )
