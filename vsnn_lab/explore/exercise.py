"""Move every control through its range, as a person might."""

import ipywidgets as widgets
from ipywidgets.widgets.widget import _instances

# What has ends, what has options, what has options of which several may be picked, and switches.
_RANGES = (widgets.IntSlider, widgets.FloatSlider, widgets.BoundedIntText, widgets.BoundedFloatText)
_CHOICES = (
    widgets.SelectionSlider,
    widgets.Dropdown,
    widgets.ToggleButtons,
    widgets.RadioButtons,
    widgets.Select,
)
_LISTS = (widgets.SelectMultiple,)
_SWITCHES = (widgets.Checkbox, widgets.ToggleButton)


def move_every_slider() -> int:
    """Put each slider, menu and switch of this process to its ends, its middle, and back.

    Those that are disabled are left alone, and so are buttons, since they write files.

    Returns:
        How many controls were moved.

    Raises:
        RuntimeError: If a callback failed; its own error is the cause.
    """
    kinds = _RANGES + _CHOICES + _LISTS + _SWITCHES
    found = [each for each in list(_instances.values()) if isinstance(each, kinds)]
    moved = 0
    for control in found:
        # Looked up at its turn, since moving one may enable another.
        if not control.disabled:
            _move(control)
            moved += 1
    return moved


def _move(control: widgets.Widget) -> None:
    start = control.value
    for value in [*_stops(control), start]:
        try:
            control.value = value
        except Exception as error:
            name = f"{type(control).__name__} {control.description!r}".strip()
            raise RuntimeError(f"a callback of {name} failed at {value!r}: {error}") from error


def _stops(control: widgets.Widget) -> list[object]:
    if isinstance(control, _SWITCHES):
        return [not control.value]
    if isinstance(control, _CHOICES + _LISTS):
        values = [value for _, value in control._options_full]
        if isinstance(control, _LISTS):
            return [(), tuple(values[:1]), tuple(values)]
        return [values[0], values[len(values) // 2], values[-1]] if values else []
    middle = (control.min + control.max) / 2
    return [control.min, type(control.value)(middle), control.max]
