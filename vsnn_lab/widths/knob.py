"""The knob behind one or more variable axes, and the positions that it may stand at.

Its setting is the only state, it lives on the knob, and the model that holds an axis finds it
there; nothing is global.
"""

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_flag, check_int, short_repr
from vsnn_lab.widths.setting import Setting, SeveralPositions

if TYPE_CHECKING:
    from vsnn_lab.widths.axes import Width

Position = int | Tensor
AnyPosition = TypeVar("AnyPosition", int, Tensor)


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
        rounded: Whether an axis may have any size; a position then keeps the share of its units
            that it asks for, rounded up to a whole unit.

    Raises:
        TypeError: If ``steps`` is not an integer or ``rounded`` no bool.
        ValueError: If ``steps`` is below 1.

    Example:
        Layers of 6 and 9 units share three positions, of 2 and 3 units a step; or eight, rounded:

        >>> knob = WidthControl(3)
        >>> knob.axis(6).at(2), knob.axis(9).at(2)
        (4, 6)
        >>> axis = WidthControl(8, rounded=True).axis(6)
        >>> [axis.at(position) for position in range(1, 9)]
        [1, 2, 3, 3, 4, 5, 6, 6]
    """

    def __init__(self, steps: int, rounded: bool = False) -> None:
        self.steps = check_int("steps", steps)
        self.rounded = check_flag("rounded", rounded)
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
        """Return an axis of ``size`` units on this knob.

        Raises:
            ValueError: If ``steps`` does not divide ``size``, and the knob is not ``rounded``.
        """
        from vsnn_lab.widths.axes import Width

        return Width(check_int("size", size), control=self)

    def _share(self, units: int, position: AnyPosition) -> AnyPosition:
        """Return how many of ``units`` a position keeps, or those of each sample."""
        # Whole at the end, whatever the rounding; and exact, since all of it is whole numbers.
        return (position * units + (self.steps - 1)) // self.steps

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
        return f"WidthControl({self.steps}{', rounded=True' if self.rounded else ''})"

    def __getstate__(self) -> dict[str, Any]:
        # A copy starts at rest: the `with` block that turned this knob would never turn it back.
        return vars(WidthControl(self.steps, self.rounded))
