"""Which knob each axis of a network goes on, and how many positions that has."""

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from vsnn_lab._basics.checks import check_choice, check_int, short_repr
from vsnn_lab.networks.graph.units import Segment
from vsnn_lab.networks.graph.walk import Walk
from vsnn_lab.widths import WidthControl

# Fewer positions than these are no slider: then any size gets a knob of rounded positions.
_FEWEST = 16
_ROUNDED = 32

Knobs = Literal["shared", "per_layer"] | Mapping[str, WidthControl | int | None]


def check_knobs(knobs: Any) -> Knobs:
    """Return what was given as knobs, or say what is wrong with it."""
    if not isinstance(knobs, Mapping):
        check_choice("knobs", knobs, ("shared", "per_layer"))
        return knobs
    for pattern, knob in knobs.items():
        if not isinstance(pattern, str):
            raise TypeError(f"knobs must have names of layers as keys, got {short_repr(pattern)}")
        if knob is not None and not isinstance(knob, WidthControl):
            check_int(f"knobs[{short_repr(pattern)}]", knob, hint="or a WidthControl, or None")
    return knobs


def varying_axes(walk: Walk) -> list[Segment]:
    """Return the axes of layers that vary, each once, in the order of the layers."""
    return list(walk.varying().values())


def choose_knobs(walk: Walk, steps: int | None, knobs: Knobs) -> dict[int | None, WidthControl]:
    """Return the knob of each axis that varies."""
    segments = varying_axes(walk)
    if not segments:
        reasons = sorted({*walk.axes.reasons.values()} - {"the network's output"})
        why = f": {'; '.join(reasons[:3])} keep what there is" if reasons else ""
        raise ValueError(f"model must have an axis between two layers that can vary, got none{why}")
    if knobs == "per_layer":
        return {part.axis: _control([part.units], steps) for part in segments}
    if isinstance(knobs, Mapping):
        return _named_controls(walk, steps, knobs, segments)
    shared = _control([part.units for part in segments], steps)
    return dict.fromkeys((part.axis for part in segments), shared)


def _control(units: list[int], steps: int | None) -> WidthControl:
    divisor = math.gcd(*units)
    if steps is None:
        return WidthControl(divisor) if divisor >= _FEWEST else WidthControl(_ROUNDED, rounded=True)
    for each in units:
        if each % steps:
            raise ValueError(
                f"steps must divide the units of every axis, whole groups and heads, got "
                f"steps={steps} and {each} units; leave it out for rounded positions"
            )
    return WidthControl(steps)


def _named_controls(
    walk: Walk, steps: int | None, knobs: Mapping[str, Any], segments: list[Segment]
) -> dict[int | None, WidthControl]:
    """Return the knobs of axes by patterns of the names of the layers that make them."""
    makers: dict[int | None, list[str]] = {part.axis: [] for part in segments}
    for name, dims in walk.layers.items():
        # A norm has an axis, and makes none.
        for key in dims.keys() - {"in_axis"} if "axis" not in dims else ():
            for part in walk.axes.resolve(dims[key]):
                if part.varies:
                    makers[part.axis].append(name)
    found: dict[int | None, WidthControl] = {}
    for pattern, knob in knobs.items():
        named = [
            part
            for part in segments
            if part.axis not in found
            and makers[part.axis]
            and all(_is_named(name, pattern) for name in makers[part.axis])
        ]
        if not named:
            raise ValueError(
                f"knobs must name all layers that make an axis which varies, and which no name "
                f"before has put on a knob, got {pattern!r}"
            )
        own = knob if isinstance(knob, WidthControl) else _control([p.units for p in named], knob)
        found |= dict.fromkeys((part.axis for part in named), own)
    rest = [part for part in segments if part.axis not in found]
    if rest:
        shared = _control([part.units for part in rest], steps)
        found |= dict.fromkeys((part.axis for part in rest), shared)
    return found


def _is_named(name: str, pattern: str) -> bool:
    """Whether a pattern names a layer, or a module that it lies in."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[: end + 1]), pattern) for end in range(len(parts)))
