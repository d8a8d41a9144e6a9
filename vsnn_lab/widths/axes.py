"""Widths are axes: an axis of a layer is an ``int`` (fixed) or a `Width` (variable).

A `WidthControl` is the knob behind one or more axes, and `at_width` turns it for a while. Axes are
an algebra: ``a + b`` is that of a concatenation, ``a * n`` repeats each unit as neighbours.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Union

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_int, short_repr
from vsnn_lab.widths.knob import AnyPosition, WidthControl

Range = tuple[int, int]
"Where neighbouring units begin, and how many they are."


class Rows(NamedTuple):
    """Where the samples of a tensor lie that has an axis.

    Attributes:
        dim: The dimension.
        several: Whether each sample has several neighbouring rows there: its tokens, say.
    """

    dim: int = 0
    several: bool = False


class Part(NamedTuple):
    """Neighbouring units of an axis, of which the first stay.

    Attributes:
        units: What a knob keeps a share of: single units, or groups of them, heads say.
        repeats: Elements of each unit, as neighbours.
        control: The knob; None where all of them stay.
    """

    units: int
    repeats: int
    control: WidthControl | None

    @property
    def size(self) -> int:
        """Elements at full width."""
        return self.units * self.repeats

    def kept(self, position: AnyPosition) -> AnyPosition:
        """Return the elements that stay at a position of the knob."""
        assert self.control is not None
        return self.control._share(self.units, position) * self.repeats


class Width:
    """A variable axis: ``max_width`` units of which a prefix is kept.

    ``a * n`` repeats each unit as n neighbours: channels become pixels, heads the entries of their
    vectors. ``a + b`` is the axis of a concatenation: each part keeps a prefix of its own, at a
    fixed place; either may be an int, which stays whole.

    Args:
        max_width: Units at full width.
        control: The knob; by default one of its own with ``max_width`` positions.

    Attributes:
        max_width: The same.
        parts: What it is joined of, a single one unless it is a sum.
        rows: Where samples lie that have widths of their own.
        controls: The knobs that it stands on, each once.
        is_prefix: Whether the units kept are the first ones, as they are unless it is a sum.

    Raises:
        TypeError: If ``max_width`` is not an integer or ``control`` not a `WidthControl`.
        ValueError: If ``max_width`` is below 1, or the knob's steps do not divide it and it is not
            ``rounded``.

    Example:
        >>> channels = Width(16)
        >>> pixels = channels * 49  # a flatten: channel c becomes 49 neighbouring features
        >>> pixels.at(3)
        147
        >>> fused = channels + channels + 4
        >>> fused.at(3)
        10
    """

    # An array on the left leaves the product to `__rmul__`.
    __array_ufunc__ = None

    def __init__(self, max_width: int, control: WidthControl | None = None) -> None:
        size = check_int("max_width", max_width)
        if control is not None and not isinstance(control, WidthControl):
            raise TypeError(
                f"control must be a WidthControl, "
                f"got {short_repr(control)} of type {type(control).__name__}"
            )
        control = WidthControl(size) if control is None else control
        if size % control.steps and not control.rounded:
            raise ValueError(
                f"max_width must be a multiple of the knob's steps, got max_width="
                f"{size} and steps={control.steps}; choose a common divisor of "
                "all sizes on the knob as steps, or WidthControl(steps, rounded=True)"
            )
        self._join((Part(size, 1, control),), Rows())

    def _join(self, parts: Sequence[Part], rows: Rows) -> "Width":
        self.parts, self.rows = tuple(parts), rows
        self.is_prefix = len(self.parts) == 1
        self.controls = list({p.control: None for p in self.parts if p.control is not None})
        self.max_width = sum(part.size for part in parts)
        return self

    @property
    def control(self) -> WidthControl:
        """The knob that it stands on.

        Raises:
            ValueError: If it is joined of parts on several knobs.
        """
        if len(self.controls) > 1:
            raise ValueError(f"an axis must be on one knob for this, got {self!r}")
        return self.controls[0]

    @property
    def per_step(self) -> int:
        """Units that each step of its knob adds.

        Raises:
            ValueError: If steps add unlike numbers of them, or its parts stand apart.
        """
        steps = self.control.steps
        if not self.is_prefix or self.max_width % steps:
            raise ValueError(f"an axis must add as many units at every step, got {self!r}")
        return self.max_width // steps

    def at(self, position: int) -> int:
        """Return the units kept at a position of its knob."""
        control = self.control
        return kept_size(self, {control: check_int("position", position, 1, control.steps)})

    def __mul__(self, repeats: int) -> "Width":
        repeats = check_int("repeats", repeats)
        return self._like([_repeated(part, repeats) for part in self.parts])

    __rmul__ = __mul__

    def __add__(self, other: Union[int, "Width"]) -> "Width":
        return self._like([*self.parts, *_parts_of(other)])

    def __radd__(self, other: int) -> "Width":
        if type(other) is int and other == 0:  # where `sum` begins
            return self
        return self._like([*_parts_of(other), *self.parts])

    def _like(self, parts: Sequence[Part]) -> "Width":
        return Width.__new__(Width)._join(parts, self.rows)

    def __repr__(self) -> str:
        return " + ".join(map(_part_repr, self.parts))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Width | int":
        # `extract` copies a model with its knobs replaced by positions in the memo; every axis,
        # wherever a user's module keeps it, then becomes its number of kept units.
        parts = []
        for part in self.parts:
            control = copy.deepcopy(part.control, memo)
            if isinstance(control, int):
                part, control = Part(part.kept(control), 1, None), None
            parts.append(part._replace(control=control))
        if all(part.control is None for part in parts):
            return sum(part.size for part in parts)
        return self._like(parts)


def _parts_of(axis: Any) -> Sequence[Part]:
    if isinstance(axis, Width):
        return axis.parts
    return [Part(check_int("an axis to join", axis, hint="or a Width"), 1, None)]


def _repeated(part: Part, repeats: int) -> Part:
    if part.control is not None and part.control.rounded:
        return part._replace(repeats=part.repeats * repeats)
    # Where nothing is rounded, units and their elements are the same.
    return part._replace(units=part.units * repeats)


def _part_repr(part: Part) -> str:
    if part.control is None:
        return str(part.size)
    own = part.control.steps == part.units
    more = "" if own else f", control={part.control!r}"
    return f"Width({part.units}{more})" + (f" * {part.repeats}" if part.repeats > 1 else "")


class VariableSize(int):
    """The full size of a variable axis, as a number that torch may hand on to another layer.

    ``SyncBatchNorm.convert_sync_batchnorm`` does so: a layer that has one and no `Width` has lost
    it.
    """


def check_axis(name: str, axis: Any) -> int | Width:
    """Return ``axis`` if it is a `Width` or a positive int, or say what is wrong with it."""
    hint = "Width(n) makes it variable"
    return axis if isinstance(axis, Width) else check_int(name, axis, hint=hint)


def check_prefix(name: str, axis: int | Width) -> int | Width:
    """Return ``axis`` unless it is a sum, or say what is wrong with it."""
    if isinstance(axis, Width) and not axis.is_prefix:
        raise ValueError(f"{name} must not be joined of several parts, got {axis!r}")
    return axis


def full_size(axis: int | Width) -> int:
    """Return the units of ``axis`` at full width."""
    return axis.max_width if isinstance(axis, Width) else axis


def kept_ranges(axis: Width, positions: Mapping[WidthControl, int]) -> list[Range]:
    """Return where the units lie that are kept at positions of the knobs."""
    if axis.is_prefix:
        (part,) = axis.parts
        return [(0, part.kept(positions[axis.controls[0]]))]
    starts = accumulate((part.size for part in axis.parts), initial=0)
    found: list[Range] = []
    for start, part in zip(starts, axis.parts, strict=False):
        kept = part.size if part.control is None else part.kept(positions[part.control])
        # Whole neighbours are one: what is cut is copied the less often.
        if found and sum(found[-1]) == start:
            found[-1] = found[-1][0], found[-1][1] + kept
        else:
            found.append((start, kept))
    return found


def kept_size(axis: int | Width, positions: Mapping[WidthControl, int]) -> int:
    """Return the units of ``axis`` at given knob positions."""
    if isinstance(axis, int):
        return axis
    return sum(kept for _, kept in kept_ranges(axis, positions))


def widest_size(axis: int | Width) -> int:
    """Return the units of ``axis`` that are computed now: those kept, or that masks decide on."""
    if isinstance(axis, int):
        return axis
    return kept_size(axis, {control: control.widest for control in axis.controls})


def is_whole(axis: int | Width) -> bool:
    """Whether all units of ``axis`` are computed now."""
    return isinstance(axis, int) or all(
        control.widest == control.steps for control in axis.controls
    )


def knobs_of(*axes: int | Width) -> list[WidthControl]:
    """Return the knobs behind some axes, each once."""
    found: list[WidthControl] = []
    for axis in axes:
        if isinstance(axis, Width):
            found += [control for control in axis.controls if control not in found]
    return found


def take_units(x: Tensor, ranges: Sequence[Range], dim: int) -> Tensor:
    """Return the units of a tensor that lie in ranges: a view where there is one range."""
    parts = [x.narrow(dim, start, length) for start, length in ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def with_rows(axis: Width, rows: Rows) -> Width:
    """Return the same axis of a tensor whose samples lie elsewhere."""
    return Width.__new__(Width)._join(axis.parts, rows)


def put_units(x: Tensor, axis: Width, ranges: Sequence[Range], dim: int) -> Tensor:
    """Return a tensor of all units of an axis, zero but for those in ranges, which ``x`` has."""
    shape = list(x.shape)
    shape[dim] = axis.max_width
    whole, done = x.new_zeros(shape), 0
    for start, length in ranges:
        whole.narrow(dim, start, length).copy_(x.narrow(dim, done, length))
        done += length
    return whole


def kept_parts(axis: Width) -> Iterator[tuple[Part, int]]:
    """List the parts of an axis, each with how many of its elements are computed now."""
    for part in axis.parts:
        yield part, part.size if part.control is None else part.kept(part.control.widest)
