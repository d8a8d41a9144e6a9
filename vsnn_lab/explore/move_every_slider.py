"""Move every widget through its range, as a person might."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython
from ipywidgets.widgets.widget import _instances

from vsnn_lab.explore.instrument import Instrument, Position

# Nobody moves them.
_DISPLAYS = (widgets.IntProgress, widgets.FloatProgress)


def move_every_slider() -> int:
    """Put each slider, menu and switch of this process to its ends, its middle, and back.

    So are the positions of an instrument's controls. Those that are disabled are left alone, and
    so are buttons, since they write files.

    Returns:
        How many controls were moved.

    Raises:
        RuntimeError: If a callback failed; its own error is the cause.
    """
    moved = 0
    for widget in list(_instances.values()):
        for trait, name, positions in _traits_to_move(widget):
            # Looked up at its turn, since moving one may enable another.
            if getattr(widget, "disabled", False):
                continue
            for value in [*positions, getattr(widget, trait)]:
                try:
                    with _raise_shown_error():
                        setattr(widget, trait, value)
                except Exception as error:
                    raise RuntimeError(
                        f"a callback of {name} failed at {value!r}: {error}"
                    ) from error
            moved += 1
    return moved


def _traits_to_move(widget: Any) -> list[tuple[str, str, list[Any]]]:
    """Return what of a widget moves: the trait, what it is called, and where it is put."""
    kind = type(widget).__name__
    if isinstance(widget, Instrument):
        # One that is closed has no controls.
        controls = widget.description.get("controls", ())
        names = [
            each["name"] for each in controls if isinstance(widget.traits()[each["name"]], Position)
        ]
        ranges = [(name, widget.range_of(name)) for name in names]
        return [
            (name, f"{kind} {name!r}", [low, (low + high) // 2, high])
            for name, (low, high) in ranges
        ]
    positions = _positions_to_try(widget)
    called = f"{kind} {getattr(widget, 'description', '')!r}"
    return [("value", called, positions)] if positions else []


@contextmanager
def _raise_shown_error() -> Iterator[None]:
    """Raise the error that ``interact`` or an ``Output`` shows in place of raising it."""
    shell = get_ipython()
    if shell is None:
        yield
        return
    show = shell.showtraceback
    shown: list[Any] = []

    def show_and_keep(exc_tuple: Any = None, *args: Any, **options: Any) -> None:
        shown.append(exc_tuple[1] if exc_tuple else sys.exc_info()[1])
        show(exc_tuple, *args, **options)

    shell.showtraceback = show_and_keep
    try:
        yield
    finally:
        shell.showtraceback = show
    if shown:
        raise shown[0]


def _positions_to_try(widget: Any) -> list[Any]:
    """Return where a widget is put; nowhere, if it is none that has a range."""
    if isinstance(widget, _DISPLAYS):
        return []
    if isinstance(widget, widgets.Checkbox | widgets.ToggleButton):
        return [not widget.value]
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
    if isinstance(widget.value, tuple):
        return _ranges(low, high)
    return [low, type(widget.value)((low + high) / 2), high]


def _ranges(low: Any, high: Any) -> list[tuple[Any, Any]]:
    return [(low, low), (low, high), (high, high)]
