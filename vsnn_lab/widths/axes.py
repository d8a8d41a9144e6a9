"""Widths are axes: an axis of a layer is an ``int`` (fixed) or a `Width` (variable).

A `WidthControl` is the knob behind one or more axes, and `at_width` turns it for a while. The
knob's setting is the only state, it lives on the knob, and the model that holds the axis finds
it there; nothing is global.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_int, short_repr
from vsnn_lab.widths.setting import Setting, SeveralPositions

Position = int | Tensor


def check_widths(name: str, widths: Any, steps: int, *, hint: str = "") -> Tensor:
    """Return ``widths`` as a LongTensor of positions in 1..steps, or say what is wrong with it."""
    tail = f"; {hint}" if hint else ""
    if not isinstance(widths, Tensor):
        raise TypeError(
            f"{name} must be a LongTensor of shape (batch,), got {short_repr(widths)}{tail}"
        )
    if widths.dtype == torch.bool or widths.is_floating_point() or widths.is_complex():
        raise TypeError(f"{name} must be an integer tensor, got dtype {widths.dtype}{tail}")
    if widths.dim() != 1 or len(widths) == 0:
        raise ValueError(
            f"{name} must be a non-empty vector of shape (batch,), got shape "
            f"{tuple(widths.shape)}; pass an int to give every sample the same width"
        )
    # torch compares few of the unsigned types.
    widths = widths.long()
    low, high = (int(value) for value in widths.aminmax())
    if low < 1 or high > steps:
        worst = low if low < 1 else high
        raise ValueError(f"{name} must lie in 1..{steps}, got {worst}{tail}")
    return widths


def geometric_widths(steps: int) -> list[int]:
    """Return 1, 2, 4, ... and ``steps``: the widths worth a tick on a log2 axis.

    Example:
        >>> geometric_widths(20)
        [1, 2, 4, 8, 16, 20]
    """
    steps = check_int("steps", steps)
    return sorted({2**power for power in range(steps.bit_length())} | {steps})


class WidthControl:
    """The knob behind one or more variable axes.

    A position is an integer in ``1..steps``; every axis on the knob keeps the same share of its
    units. At rest the knob stands at ``steps``: full width.

    Args:
        steps: Number of positions, at least 1.

    Raises:
        TypeError: If ``steps`` is not an integer.
        ValueError: If it is below 1.

    Example:
        Layers of 6 and 9 units share three positions, of 2 and 3 units a step:

        >>> knob = WidthControl(3)
        >>> knob.axis(6).at(2), knob.axis(9).at(2)
        (4, 6)
    """

    def __init__(self, steps: int) -> None:
        self.steps = check_int("steps", steps)
        self._setting = Setting(self.steps, self.steps)

    @property
    def setting(self) -> Setting:
        """Where the knob stands, and what layers remember while it does."""
        return self._setting

    @property
    def position(self) -> Position:
        """Where the knob stands, an int in 1..steps or one position per sample."""
        position = self._setting.position
        if isinstance(position, SeveralPositions):
            raise RuntimeError(f"only octave layers run at several widths side by side: {position}")
        return position

    @property
    def widest(self) -> int:
        """The widest position whose units are computed now, where samples may have their own."""
        return self._setting.widest

    def axis(self, size: int) -> "Width":
        """Return an axis of ``size`` units on this knob; ``steps`` must divide ``size``."""
        return Width(check_int("size", size), control=self)

    def check(self, width: Any) -> Position:
        """Return ``width`` as a valid position, or say what is wrong with it.

        Args:
            width: An int in 1..steps, or an integer tensor of shape (batch,) of such positions.

        Raises:
            TypeError: If it is neither an integer nor an integer tensor.
            ValueError: If a position lies outside the range or the tensor is not a vector.
        """
        hint = f"WidthControl(steps={self.steps}) sets the range"
        if not isinstance(width, Tensor):
            return check_int("width", width, 1, self.steps, hint=hint)
        return check_widths("width", width, self.steps, hint=hint)

    def __repr__(self) -> str:
        return f"WidthControl({self.steps})"

    def __getstate__(self) -> dict[str, Any]:
        # A copy starts at rest: the `with` block that turned this knob would never turn it back.
        return vars(WidthControl(self.steps))


class Width:
    """A variable axis: ``max_width`` units of which a prefix is kept.

    Args:
        max_width: Units at full width.
        control: The knob; by default one of its own with ``max_width`` positions.

    Raises:
        TypeError: If ``max_width`` is not an integer or ``control`` not a `WidthControl`.
        ValueError: If ``max_width`` is below 1, or the knob's steps do not divide it.

    Example:
        >>> channels = Width(16)
        >>> pixels = channels * 49  # a flatten: channel c becomes 49 neighbouring features
        >>> pixels.at(3)
        147
    """

    # An array on the left leaves the product to `__rmul__`.
    __array_ufunc__ = None

    def __init__(self, max_width: int, control: WidthControl | None = None) -> None:
        self.max_width = check_int("max_width", max_width)
        if control is not None and not isinstance(control, WidthControl):
            raise TypeError(
                f"control must be a WidthControl, "
                f"got {short_repr(control)} of type {type(control).__name__}"
            )
        self.control = WidthControl(self.max_width) if control is None else control
        if self.max_width % self.control.steps:
            raise ValueError(
                f"max_width must be a multiple of the knob's steps, got max_width="
                f"{self.max_width} and steps={self.control.steps}; choose a common divisor of "
                "all sizes on the knob as steps"
            )
        self.per_step = self.max_width // self.control.steps

    def at(self, position: int) -> int:
        """Return the units kept at a knob position."""
        return check_int("position", position, 1, self.control.steps) * self.per_step

    def __mul__(self, repeats: int) -> "Width":
        return Width(self.max_width * check_int("repeats", repeats), control=self.control)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        own = self.control.steps == self.max_width
        return f"Width({self.max_width}{'' if own else f', control={self.control}'})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Width | int":
        # `extract` copies a model with its knobs replaced by positions in the memo; every axis,
        # wherever a user's module keeps it, then becomes its number of kept units.
        control = copy.deepcopy(self.control, memo)
        if isinstance(control, int):
            return control * self.per_step
        return Width(self.max_width, control=control)


class VariableSize(int):
    """The full size of a variable axis, as a number that torch may hand on to another layer.

    ``SyncBatchNorm.convert_sync_batchnorm`` does so: a layer that has one and no `Width` has lost
    it.
    """


def check_axis(name: str, axis: Any) -> int | Width:
    """Return ``axis`` if it is a `Width` or a positive int, or say what is wrong with it."""
    hint = "Width(n) makes it variable"
    return axis if isinstance(axis, Width) else check_int(name, axis, hint=hint)


def full_size(axis: int | Width) -> int:
    """Return the units of ``axis`` at full width."""
    return axis.max_width if isinstance(axis, Width) else axis


def kept_size(axis: int | Width, positions: Mapping[WidthControl, int]) -> int:
    """Return the units of ``axis`` at given knob positions."""
    return positions[axis.control] * axis.per_step if isinstance(axis, Width) else axis
