"""Where a knob stands: one setting, immutable, replaced whole when the knob turns."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class SeveralPositions:
    """Positions that one call computes side by side, ascending."""

    positions: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Series:
    """Positions that a knob is turned to one after the other.

    Attributes:
        positions: The widest position of each turn.
        memo: What layers have cut for all of them at once.
    """

    positions: tuple[int, ...]
    memo: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Setting:
    """What a knob says to the layers that stand on it.

    Attributes:
        position: One position, one for each sample, or several side by side.
        widest: The widest position whose units are computed; with a position for each sample,
            layers leave out what lies beyond.
        series: The turns that this one belongs to.
        turned: Whether somebody chose the position, which at rest nobody has.
        memo: What layers have cut out of their parameters; it lives and dies with the setting.
    """

    position: int | Tensor | SeveralPositions
    widest: int
    series: Series | None = None
    turned: bool = False
    memo: dict[Any, Any] = field(default_factory=dict)
