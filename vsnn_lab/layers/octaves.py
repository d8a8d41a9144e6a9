"""The octaves of a knob: positions 1, 2, 3..4, 5..8 and so on, up to the one below full width."""

from typing import Any, Literal

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_choice

_FEW = 32

Per = Literal["position", "octave"]


def octave_tops(steps: int) -> list[int]:
    """Return the widest position of each octave below full width.

    Example:
        >>> octave_tops(64), octave_tops(20)
        ([1, 2, 4, 8, 16, 32, 63], [1, 2, 4, 8, 16, 19])
    """
    tops = [2**power for power in range((steps - 1).bit_length())]
    return tops if not tops or tops[-1] == steps - 1 else [*tops, steps - 1]


def is_narrow(top: int, steps: int) -> bool:
    """Whether the octave up to a position is narrow: up to a quarter of the knob.

    Of a knob of few positions it is up to half.
    """
    return 4 * top <= steps or 2 * top <= steps <= _FEW


def octave_of(position: int) -> int:
    """Return the index of the octave that a position below full width lies in."""
    if torch.compiler.is_compiling():
        # One graph for all positions of an octave, not for each.
        octave = 0
        while position > 2**octave:
            octave += 1
        return octave
    return (position - 1).bit_length()


def group_tops(steps: int, per: Per) -> tuple[int, ...]:
    """Return the last position of each group that has something of its own, but for the last group.

    Args:
        steps: Positions of the knob.
        per: Whether each position is a group, or each octave and full width.
    """
    octaves = check_choice("per", per, ("position", "octave")) == "octave"
    return tuple(octave_tops(steps) if octaves else range(1, steps))


def group_of(position: Any, tops: tuple[int, ...]) -> Any:
    """Return the index of the group that a position lies in, or that of each of a tensor's."""
    if isinstance(position, Tensor):
        edges = torch.tensor(tops, device=position.device, dtype=position.dtype)
        return torch.bucketize(position, edges)
    return sum(position > top for top in tops)
