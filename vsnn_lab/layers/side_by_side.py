"""Several narrow widths of a chain run in one call: blocks along the diagonal of one matrix."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.layers.octaves import octave_of
from vsnn_lab.widths import SeveralPositions, Width, WidthControl, knobs_of, with_setting

# Floats in the widest registers of today's processors.
_REGISTER = 16
# From so many products with zeros on it is quicker to multiply by one more matrix.
_WORTH_A_CALL = 2**21

Shapes = tuple[tuple[int, int], ...]


def at_several_positions(
    control: WidthControl, positions: Sequence[int]
) -> AbstractContextManager[None]:
    """Run a chain of `SwitchableLinear` layers and activations at several widths in one call.

    It returns what runs under `at_width` would, in a row, on the same inputs: shape
    (batch, positions, out_features). All of them multiply in one call what they take from the
    inputs, which many small calls would take much longer for.

    Args:
        control: The knob.
        positions: One for each of the narrowest levels of the layers, in ascending order.
    """
    several = SeveralPositions(tuple(positions))
    return with_setting(control, position=several, widest=control.steps)


def is_several(layer: VariableLayer) -> bool:
    """Whether a layer stands at several widths at once."""
    knobs = knobs_of(layer.out_axis, layer.in_axis)
    return len(knobs) == 1 and isinstance(knobs[0].setting.position, SeveralPositions)


def outputs_side_by_side(layer: Any, x: Tensor) -> Tensor:
    """Return what a `SwitchableLinear` gives at several widths, each of its own level.

    The weights of all levels stand in one matrix, the widest first, as the layer holds them; in
    several where too many of its entries would be zeros.
    """
    in_axis, out_axis = layer.in_axis, layer.out_axis
    varies = isinstance(out_axis, Width), isinstance(in_axis, Width)
    (control,) = knobs_of(out_axis, in_axis)
    several = control.setting.position
    assert isinstance(several, SeveralPositions)
    positions = several.positions
    levels = sorted(layer.levels)[-len(positions) :]
    _check_positions(layer, control, levels, positions)
    shapes = tuple(layer.own_weights.shapes["weight"][level] for level in levels)
    groups = _groups(shapes, x.numel() // x.shape[-1]) if varies[1] else [shapes]
    sizes = (sum(each) for each in zip(*shapes, strict=True))
    padding = tuple(_padding(size) if vary else 0 for size, vary in zip(sizes, varies, strict=True))
    places = [
        block_indices(group, layer.weight.shape, varies[1], more, x.device)
        for group, more in zip(groups, [*[(0, 0)] * (len(groups) - 1), padding], strict=True)
    ]
    with torch.no_grad():
        if varies[1]:
            whole = layer.weight.flatten()
            shared = _cat([whole.index_select(0, at.taken) for at in places])
        else:
            shared = layer.weight.index_select(0, places[0].rows).flatten()
    weight = layer.add_in_a_row("weight", shared, levels)
    weights = _split(weight, [len(at.taken) for at in places])
    biases: Any = [None] * len(places)
    if layer.bias is not None:
        with torch.no_grad():
            shared = _cat([layer.bias.index_select(0, at.rows) for at in places])
        bias = layer.add_in_a_row("bias", shared, levels)
        biases = _split(bias, [len(at.rows) for at in places])
    # Of the units of each level those that it keeps; there are fewer weights than activations.
    tops = tuple(layer.levels[level][control] for level in levels)
    kept = _kept_units(in_axis, tops, x.device) if varies[1] else None
    outputs, start = [], 0
    for at, weight, bias in zip(places, weights, biases, strict=True):
        units, inputs = at.whole
        if kept is None:
            weight = F.pad(weight, (0, units * inputs - len(weight))).view(at.whole)
        else:
            # Each level reads its own units alone: blocks along a diagonal, all else zero.
            blocks = weight.new_zeros(units * inputs).index_copy(0, at.placed, weight)
            weight = torch.where(kept[start : start + inputs], blocks.view(at.whole), 0.0)
        if bias is not None:
            bias = F.pad(bias, (0, units - len(bias)))
        x_here = x if len(places) == 1 else x[..., start : start + inputs]
        outputs.append(layer.compute(x_here, weight, bias))
        start += inputs
    y = _cat(outputs, -1)
    return y if varies[0] else y.unflatten(-1, (len(shapes), -1)).flip(-2)


def _cat(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat([*parts], dim)


def _split(row: Tensor, sizes: list[int]) -> Sequence[Tensor]:
    # The gradient of a piece that is all of it would be copied.
    return [row] if len(sizes) == 1 else row.split(sizes)


def _groups(shapes: Shapes, rows: int) -> list[Shapes]:
    """Return levels in groups that have a matrix each: the widest ones alone, where that pays."""
    groups, left = [], shapes
    while len(left) > 1:
        (units, inputs), others = left[0], left[1:]
        zeros = units * sum(each for _, each in others) + inputs * sum(each for each, _ in others)
        if zeros * rows < _WORTH_A_CALL:
            break
        groups.append(left[:1])
        left = others
    return [*groups, left]


def _check_positions(
    layer: Any, control: WidthControl, levels: Sequence[int], positions: Sequence[int]
) -> None:
    tops = [layer.levels[level][control] for level in reversed(levels)]
    if [octave_of(each) for each in positions] != [octave_of(top) for top in tops]:
        raise ValueError(
            f"positions must lie in the octaves up to {tops}, one in each, got {[*positions]}"
        )


def _kept_units(axis: Width, tops: tuple[int, ...], device: torch.device) -> Tensor:
    """Return which units an axis keeps where those of several levels stand in a row."""
    position, memo = axis.control.setting.position, axis.control.setting.memo
    assert isinstance(position, SeveralPositions)
    key = _kept_units, axis.parts, tops
    if key not in memo:
        units, level = _units_in_a_row(tuple(axis.at(top) for top in tops), device)
        kept = [axis.at(each) for each in reversed(position.positions)]
        memo[key] = units < torch.tensor(kept, device=device)[level]
    return memo[key]


@lru_cache(maxsize=64)
def _units_in_a_row(sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the number of each unit within its level, and its level, where levels follow."""
    units = torch.cat([torch.arange(size) for size in sizes])
    level = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    more = 0, _padding(len(units))
    return F.pad(units, more, value=max(sizes)).to(device), F.pad(level, more).to(device)


class BlockIndices(NamedTuple):
    """Where the weights of levels that stand side by side come from, and where they go."""

    rows: Tensor
    "The units of all levels in a row."
    taken: Tensor
    "For each own weight the place of what it is added to, in the flat weight of the layer."
    placed: Tensor
    "Its place in the flat weight of all levels."
    whole: torch.Size
    "The shape of that one, in which units that several levels have of an axis are rounded up."


@lru_cache(maxsize=64)
def block_indices(
    shapes: Shapes,
    full: torch.Size,
    apart: bool,
    padding: tuple[int, int],
    device: torch.device,
) -> BlockIndices:
    """Return the places of weights of these shapes, one for each level, in a layer's weight.

    Args:
        shapes: Units and inputs of each level.
        full: Those of the layer.
        apart: Whether each level reads units of its own, in place of the same inputs.
        padding: Units and inputs of nothing that follow.
        device: Where the layer is.
    """
    rows = torch.cat([torch.arange(out) for out, _ in shapes])
    taken = [torch.arange(full.numel()).view(full)[:out, :fan].flatten() for out, fan in shapes]
    blocks = [torch.ones(shape) for shape in shapes]
    whole = torch.block_diag(*blocks) if apart else torch.cat(blocks)
    whole = F.pad(whole, (0, padding[1], 0, padding[0]))
    placed = whole.flatten().nonzero().flatten()
    return BlockIndices(
        rows.to(device), torch.cat(taken).to(device), placed.to(device), whole.shape
    )


def _padding(units: int) -> int:
    """Return how many units of nothing round a row of units up to whole registers.

    Levels have 1 + 2 + 4 + ... units together, one less than a power of two: products of matrices
    that are one wider take a quarter less time.
    """
    return -units % _REGISTER
