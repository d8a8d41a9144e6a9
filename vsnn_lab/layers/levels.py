"""Levels of narrow widths: octaves of one knob or of several, counted from full width down.

Level 0 is the widest octave below full width, level 1 the next one, and so on. What stands on
several knobs has as many levels as the shortest of them, and is at the level of the widest; one
that stands at full width counts as level 0 as long as another does not.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from vsnn_lab.layers.corners import Axis
from vsnn_lab.layers.octaves import octave_of, octave_tops
from vsnn_lab.widths import Part, Position, Width, WidthControl

FULL = -1
"The level of full width."


@lru_cache(maxsize=256)
def _tops(steps: tuple[int, ...]) -> list[tuple[int, ...]]:
    downwards = [octave_tops(each)[::-1] for each in steps]
    return list(zip(*downwards, strict=False)) if downwards else []


def level_tops(controls: Sequence[WidthControl]) -> list[dict[WidthControl, int]]:
    """Return the widest position of every knob at each level.

    Example:
        >>> small, large = WidthControl(8), WidthControl(32)
        >>> [[tops[small], tops[large]] for tops in level_tops([small, large])]
        [[7, 31], [4, 16], [2, 8], [1, 4]]
    """
    tops = _tops(tuple(control.steps for control in controls))
    return [dict(zip(controls, each, strict=True)) for each in tops]


def level_of(positions: Mapping[WidthControl, int], controls: Sequence[WidthControl]) -> int:
    """Return the level of one position of each knob; `FULL` if all are at full width."""
    steps = [control.steps for control in controls]
    at = [positions[control] for control in controls]
    if at == steps:
        return FULL
    return _level(tuple(at), tuple(steps))


@lru_cache(maxsize=4096)
def _level(positions: tuple[int, ...], steps: tuple[int, ...]) -> int:
    # Full width is in the same octave as the widest position below it, or in the next one.
    pairs = zip(positions, steps, strict=True)
    found = [octave_of(each - 1) - octave_of(position) for position, each in pairs]
    return min(max(min(found), 0), len(_tops(steps)) - 1)


def levels_of(
    positions: Mapping[WidthControl, Position], controls: Sequence[WidthControl]
) -> Tensor:
    """Return the level of each sample, where a knob has a position for each."""
    # Beside a vector on a GPU another knob may stand at an int, or at a vector on the CPU.
    vectors = [each for each in positions.values() if isinstance(each, Tensor)]
    device = vectors[0].device if vectors else None
    found = []
    for control in controls:
        tops = torch.tensor(octave_tops(control.steps), device=device)
        position = torch.as_tensor(positions[control], device=device)
        found.append(len(tops) - 1 - torch.bucketize(position, tops))
    levels = torch.stack(torch.broadcast_tensors(*found))
    deepest = len(level_tops(controls)) - 1
    return torch.where((levels == FULL).all(0), FULL, levels.amin(0).clamp(0, deepest))


class LevelRuns(NamedTuple):
    """Samples of one level, one run after the other."""

    levels: list[int]
    "That of each run, no two alike."
    counts: list[int]
    "Samples of each run."
    order: Tensor | None
    "What brings the samples in that order, if they do not lie so."


def runs_of_levels(levels: Tensor) -> LevelRuns:
    """Return the runs of samples, given the level of each.

    Example:
        >>> runs_of_levels(torch.tensor([4, 4, 3, 0]))
        LevelRuns(levels=[4, 3, 0], counts=[2, 1, 1], order=None)
    """
    order = None
    alike, counts = levels.unique_consecutive(return_counts=True)
    if len({*alike.tolist()}) != len(alike):
        order = levels.argsort(stable=True)
        alike, counts = levels[order].unique_consecutive(return_counts=True)
    return LevelRuns(alike.tolist(), counts.tolist(), order)


def fit_units(
    own: Tensor,
    axis: Axis,
    tops: Mapping[WidthControl, int],
    positions: Mapping[WidthControl, int],
    dim: int,
) -> Tensor:
    """Return what positions keep of a tensor of the units of a level, zero where that has none.

    Args:
        own: Has the units along ``dim`` that ``axis`` keeps at the top of the level, and no others.
        axis: The axis.
        tops: The top of the level.
        positions: Where knobs stand.
        dim: Where the units lie.
    """
    if not isinstance(axis, Width):
        return own
    pieces, start = [], 0
    for part in axis.parts:
        have, want = _kept(part, tops), _kept(part, positions)
        pieces.append(own.narrow(dim, start, min(have, want)))
        if missing := max(want - have, 0):
            shape = [*own.shape[:dim], missing, *own.shape[dim + 1 :]]
            pieces.append(own.new_zeros(shape))
        start += have
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)


def _kept(part: Part, positions: Mapping[WidthControl, int]) -> int:
    control = part.control
    # A knob of one position has no level, and keeps all.
    if control is None or control not in positions:
        return part.size
    return part.kept(positions[control])
