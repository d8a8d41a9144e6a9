"""Several narrow widths of a chain run in one call: blocks along the diagonal of one matrix."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vsnn_lab.layers.octaves import octave_of, octave_tops, octaves_with_weights
from vsnn_lab.widths import SeveralPositions, Width, WidthControl, with_setting

# Floats in the widest registers of today's processors.
_REGISTER = 16


def at_several_positions(
    control: WidthControl, positions: Sequence[int], own_share: float | None = None
) -> AbstractContextManager[None]:
    """Run a chain of `OctaveLinear` layers and activations at several widths in one call.

    It returns what runs under `at_width` would, in a row, on the same inputs: shape
    (batch, positions, out_features). All of them multiply in one call what they take from the
    inputs, which many small calls would take much longer for.

    Args:
        control: The knob.
        positions: One in each octave that has weights of its own, in ascending order.
        own_share: That of the layers.
    """
    wanted = range(octaves_with_weights(control.steps, own_share))
    if [octave_of(position) for position in positions] != [*wanted]:
        raise ValueError(
            f"positions must lie in the first {len(wanted)} octaves, one in each, got {positions}"
        )
    several = SeveralPositions(tuple(positions))
    return with_setting(control, position=several, widest=control.steps)


def kept_units(axis: Width, device: torch.device) -> Tensor:
    """Return which units an axis keeps where those of several octaves stand in a row."""
    position, memo = axis.control.setting.position, axis.control.setting.memo
    assert isinstance(position, SeveralPositions)
    key = kept_units, axis.parts
    if key not in memo:
        pairs = zip(octave_tops(axis.control.steps), position.positions, strict=False)
        sizes = [(axis.at(top), axis.at(kept)) for top, kept in pairs]
        flags = [unit < kept for units, kept in sizes for unit in range(units)]
        mask = torch.tensor(flags, device=device)
        memo[key] = F.pad(mask, (0, _padding(len(mask))))
    return memo[key]


class BlockIndices(NamedTuple):
    """Where the weights of octaves that stand side by side come from, and where they go."""

    rows: Tensor
    "The units of all octaves in a row."
    taken: Tensor
    "For each own weight the place of what it is added to, in the flat weight of the layer."
    placed: Tensor
    "Its place in the flat weight of all octaves."
    whole: torch.Size
    "The shape of that one, in which units that several octaves have of an axis are rounded up."


@lru_cache(maxsize=64)
def block_indices(
    shapes: tuple[tuple[int, int], ...],
    full: torch.Size,
    varies: tuple[bool, bool],
    device: torch.device,
) -> BlockIndices:
    """Return the places of weights of these shapes, one for each octave, in a layer's weight.

    Args:
        shapes: Units and inputs of each octave.
        full: Those of the layer.
        varies: Whether the two vary.
        device: Where the layer is.
    """
    rows = torch.cat([torch.arange(out) for out, _ in shapes])
    taken = [torch.arange(full.numel()).view(full)[:out, :fan].flatten() for out, fan in shapes]
    blocks = [torch.ones(shape) for shape in shapes]
    whole = torch.block_diag(*blocks) if varies[1] else torch.cat(blocks)
    out, fan_in = (
        _padding(size) if vary else 0 for size, vary in zip(whole.shape, varies, strict=True)
    )
    whole = F.pad(whole, (0, fan_in, 0, out))
    placed = whole.flatten().nonzero().flatten()
    return BlockIndices(
        rows.to(device), torch.cat(taken).to(device), placed.to(device), whole.shape
    )


def _padding(units: int) -> int:
    """Return how many units of nothing round a row of units up to whole registers.

    Octaves have 1 + 2 + 4 + ... units together, one less than a power of two: products of matrices
    that are one wider take a quarter less time.
    """
    return -units % _REGISTER
