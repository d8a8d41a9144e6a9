"""Groups of channels, which are cut whole or not at all."""

from vsnn_lab.layers.corners import Axis
from vsnn_lab.widths import Part, Width, WidthControl, full_size

_KeptGroups = tuple[WidthControl | None, tuple[int, ...]]


def check_whole_groups(name: str, groups: int, **axes: Axis) -> None:
    """Refuse axes that keep a part of a group at some position, or not the same groups.

    Args:
        name: What the layer calls its groups.
        groups: How many there are at full width; of a single one any channels may stay.
        axes: The layer's axes by name.

    Raises:
        ValueError: If groups are not cut whole.
    """
    if groups == 1 or not any(isinstance(axis, Width) for axis in axes.values()):
        return
    kept = [_kept_groups(axis, full_size(axis) // groups) for axis in axes.values()]
    if None in kept or any(each != kept[0] for each in kept):
        given = ", ".join(f"{axis}={value!r}" for axis, value in axes.items())
        raise ValueError(
            f"{name} must be cut whole, the same on every axis at every position, got "
            f"{name}={groups}, {given}; WidthControl.axis({name}) * {{channels of a group}} is an "
            "axis of whole groups"
        )


def _kept_groups(axis: Axis, channels: int) -> list[_KeptGroups] | None:
    """Return the groups that each part of an axis keeps at every position, None if not whole."""
    parts = axis.parts if isinstance(axis, Width) else (Part(axis, 1, None),)
    found: list[_KeptGroups] = []
    for part in parts:
        places = range(1, 1 + (part.control.steps if part.control else 1))
        kept = [part.kept(place) if part.control else part.size for place in places]
        if any(each % channels for each in kept):
            return None
        found.append((part.control, tuple(each // channels for each in kept)))
    return found
