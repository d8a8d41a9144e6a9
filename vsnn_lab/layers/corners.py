"""The first units of a weight: those of one width, or of several that run one after the other."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, overload

import torch
from torch import Tensor, nn

from vsnn_lab.layers.checkpointing import refuse_checkpointing
from vsnn_lab.widths import (
    Series,
    Width,
    WidthControl,
    is_whole,
    kept_ranges,
    kept_size,
    knobs_of,
    take_units,
    with_setting,
)

Axis = int | Width
Device = torch.device | str | int | None

# From this many entries on a gradient takes longer to write than a function of our own to call.
# Steps of four runs, 32-w-w-w-32, batch 512: 0.7 of the time at w = 4,096, as much at 1,024, 1.2
# times as much at 256.
_LARGE = 2**20


@overload
def first_units(tensor: Tensor, axis: Axis, dim: int = 0) -> Tensor: ...


@overload
def first_units(tensor: None, axis: Axis, dim: int = 0) -> None: ...


def first_units(tensor: Tensor | None, axis: Axis, dim: int = 0) -> Tensor | None:
    """Cut a tensor's dimension down to the units computed now, those kept or to be masked."""
    if tensor is None or isinstance(axis, int):
        return tensor
    if axis.is_prefix:
        # What nearly all axes are, and layers ask for at every call.
        widest = axis.controls[0].widest
        whole = widest == axis.controls[0].steps
        return tensor if whole else tensor.narrow(dim, 0, axis.parts[0].kept(widest))
    if is_whole(axis):
        return tensor
    return take_units(tensor, kept_ranges(axis, {each: each.widest for each in axis.controls}), dim)


@torch.no_grad()
def write_units(tensor: Tensor | None, units: Tensor | None, axis: Axis) -> None:
    """Write what `first_units` took of a buffer, and somebody changed, back to where it was.

    Of a prefix it took a view, which needs no more; of an axis that is joined a copy.
    """
    if tensor is None or units is None or isinstance(axis, int) or is_whole(axis):
        return
    ranges, done = kept_ranges(axis, {control: control.widest for control in axis.controls}), 0
    for start, length in ranges if len(ranges) != 1 else ():
        tensor.narrow(0, start, length).copy_(units.narrow(0, done, length))
        done += length


def first_corner(weight: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Cut a weight's first two dimensions down to the units computed now."""
    refuse_checkpointing(rows, columns)
    # What stands in for a parameter, in `torch.func` say, is left to torch; and what is compiled,
    # which would be compiled anew for other positions.
    gains = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if gains and type(weight) is nn.Parameter and weight.numel() >= _LARGE:
        controls = knobs_of(rows, columns)
        prefixes = all(isinstance(axis, int) or axis.is_prefix for axis in (rows, columns))
        if len(controls) == 1 and prefixes:
            (control,) = controls
            series = control.setting.series
            if series and control.widest in series.positions:
                return _corners(weight, rows, columns, control, series)[control.widest]
    return first_units(first_units(weight, rows), columns, 1)


def cut_in_series(control: WidthControl, positions: Sequence[int]) -> AbstractContextManager[None]:
    """Let layers cut what positions take of a large weight at once, and sum their gradients once.

    The gradient of a view is as large as the whole: zeros, into which it is copied. Of widths that
    run one after the other each would have one for itself, which in networks of thousands of
    units takes as long as to multiply.

    Args:
        control: The knob, which is then turned to each position, or to samples up to it.
        positions: The widest position of each turn.
    """
    return with_setting(control, series=Series(tuple(positions)) if positions[1:] else None)


def _corners(
    weight: Tensor, rows: Axis, columns: Axis, control: WidthControl, series: Series
) -> dict[int, Tensor]:
    """Return what each position of a series takes of a weight."""
    # Layers that share a weight may take other parts of it.
    key = weight, *(axis if isinstance(axis, int) else axis.parts for axis in (rows, columns))
    if key not in series.memo:
        turned = [{control: position} for position in series.positions]
        sizes = [(kept_size(rows, turn), kept_size(columns, turn)) for turn in turned]
        corners = _Corners.apply(weight, *sizes)
        series.memo[key] = dict(zip(series.positions, corners, strict=True))
    return series.memo[key]


class _Corners(torch.autograd.Function):
    """Views of a weight from its first entry, whose gradients are summed in one tensor."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, *sizes: tuple[int, int]) -> tuple[Tensor, ...]:
        return tuple(weight[:rows, :columns] for rows, columns in sizes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        weight = inputs[0]
        ctx.shape, ctx.strides = weight.shape, weight.stride()
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        known = sorted((part for part in gradients if part is not None), key=Tensor.numel)
        if not known:
            return (None,) * (1 + len(gradients))
        widest = known.pop()
        rows, columns = widest.shape[:2]
        whole = widest.new_empty_strided(ctx.shape, ctx.strides)
        whole[:rows, :columns], whole[:rows, columns:], whole[rows:] = widest, 0, 0
        for part in known:
            whole[: part.shape[0], : part.shape[1]] += part
        return whole, *[None] * len(gradients)
