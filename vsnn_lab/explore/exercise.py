"""Move every widget through its range, as a person might."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython
from ipywidgets.widgets.widget import _instances

# They show a number, and nobody moves them.
_SHOWN = (widgets.IntProgress, widgets.FloatProgress)


def move_every_slider() -> int:
    """Put each slider, menu and switch of this process to its ends, its middle, and back.

    Those that are disabled are left alone, and so are buttons, since they write files.

    Returns:
        How many controls were moved.

    Raises:
        RuntimeError: If a callback failed; its own error is the cause.
    """
    found = [each for each in list(_instances.values()) if _stops(each)]
    moved = 0
    for widget in found:
        # Looked up at its turn, since moving one may enable another.
        if not widget.disabled:
            _move(widget)
            moved += 1
    return moved


def _move(widget: widgets.Widget) -> None:
    start = widget.value
    for value in [*_stops(widget), start]:
        try:
            with _raising_what_is_shown():
                widget.value = value
        except Exception as error:
            name = f"{type(widget).__name__} {widget.description!r}".strip()
            raise RuntimeError(f"a callback of {name} failed at {value!r}: {error}") from error


@contextmanager
def _raising_what_is_shown() -> Iterator[None]:
    """Raise the error that ``interact`` or an ``Output`` shows in place of raising it."""
    shell, shown = get_ipython(), []
    if shell is None:
        yield
        return
    show = shell.showtraceback

    def noted(exc_tuple=None, *args: Any, **options: Any) -> None:
        shown.append(exc_tuple[1] if exc_tuple else sys.exc_info()[1])
        show(exc_tuple, *args, **options)

    shell.showtraceback = noted
    try:
        yield
    finally:
        shell.showtraceback = show
    if shown:
        raise shown[0]


def _stops(widget: widgets.Widget) -> list[Any]:
    """Return where a widget is put; nowhere, if it is none that has a range."""
    value = getattr(widget, "value", None)
    if isinstance(widget, _SHOWN):
        return []
    if isinstance(widget, widgets.Checkbox | widgets.ToggleButton):
        return [not value]
    if hasattr(widget, "_options_full"):
        values = [value for _, value in widget._options_full]
        if isinstance(widget, widgets.SelectionRangeSlider):
            return _ranges(values[0], values[-1])
        if isinstance(widget.index, tuple):
            return [(), tuple(values[:1]), tuple(values)]
        return [values[0], values[len(values) // 2], values[-1]] if values else []
    low, high = getattr(widget, "min", None), getattr(widget, "max", None)
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return []
    if isinstance(widget, widgets.FloatLogSlider):
        return [widget.base**power for power in (low, (low + high) / 2, high)]
    if isinstance(value, tuple):
        return _ranges(low, high)
    return [low, type(value)((low + high) / 2), high]


def _ranges(low: Any, high: Any) -> list[tuple[Any, Any]]:
    return [(low, low), (low, high), (high, high)]
