"""One width vector, two ways to compute it: dense slices, or masks.

Both give the same numbers; which is cheaper depends on how many samples share a width.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_rows, short_repr
from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.layers.corners import cut_in_series
from vsnn_lab.networks.channels_last import channels_last
from vsnn_lab.networks.gate import is_maskable, may_write_in_place, output_axis
from vsnn_lab.widths import (
    Position,
    Width,
    WidthControl,
    at_width,
    check_controls,
    check_widths,
    keep_prefix,
    kept_ranges,
    put_units,
    single_control,
    with_setting,
)

# Below this many samples a run costs more as a dense call of its own than as its share of one
# masked call: starting the operations and padding the gradients outweighs the multiplications. Of
# sequences it is their tokens that count.
# Measured on 2 cores, forward and backward of an MLP 784-256-256-10, batches of 256 and 1,024.
_SMALLEST_RUN = 64
# Of a network that convolves, which multiplies more for each sample. Measured on networks of 0.5
# and 39 million multiplications a sample, batches of 32 to 256.
_SMALLEST_RUN_OF_IMAGES = 32
# Samples that all have widths of their own are sorted into so many blocks, each computed as wide as
# its widest sample. A step of an MLP 32-256-256-256-32, batch 5,120, takes 1.22 times that of
# the plain network as one masked call, 0.77 in 4 blocks, 0.80 in 8, 1.01 in 16.
_BLOCKS = 4

# After these a sample of several dimensions may be a single row.
_RESHAPES = nn.Flatten, nn.Unflatten
_CONVOLUTIONS = nn.modules.conv._ConvNd


def forward_at_widths(
    model: nn.Module, x: Tensor, widths: Tensor | Mapping[WidthControl, Tensor]
) -> Tensor:
    """Run every sample of a batch at its own width.

    Samples of equal width form a run; long runs are computed as dense slices of the model, without
    masks. Where widths mostly differ, samples are sorted into a few blocks, masked within, of which
    each is computed as wide as its widest sample; or, if layers do more than take the first units
    of their weights, as one masked call. (Batch norm in training mode sees each
    run's own statistics when sliced.)

    Args:
        model: A module with one knob; or with several.
        x: Inputs, shape (batch, ...).
        widths: Knob positions, shape (batch,), in any order; neighbours of equal width are
            cheapest. With several knobs such a vector for each of them, by knob; samples that
            agree in all of them form a run. Knobs that are left out stay where they stand.

    Returns:
        Outputs in the order of the batch. If the model ends in a variable axis, the units beyond
        each sample's width are zero.

    Raises:
        TypeError: If ``widths`` is not an integer tensor, or the model returns no tensor.
        ValueError: If a width is out of range, there is not one per sample, a knob is not the
            model's, or the output changes size with the width along an axis that the model does
            not tell.

    Example:
        >>> from vsnn_lab import VariableLinear, Width
        >>> layer = VariableLinear(4, Width(3), bias=False)
        >>> (forward_at_widths(layer, torch.ones(2, 4), torch.tensor([1, 2])) != 0).int()
        tensor([[1, 0, 0],
                [1, 1, 0]], dtype=torch.int32)
    """
    given = _check_positions(model, widths)
    check_rows("x", x)
    for vector in given.values():
        if len(vector) != len(x):
            raise ValueError(
                f"widths must have one entry for each of the {len(x)} samples, got {len(vector)}"
            )
    axis, dim = output_axis(model)
    x = channels_last(model, x)
    ordered, order = _sort_positions(given)
    if order is not None:
        order = order.to(x.device)
    runs = runs_of(ordered)
    convolves = any(isinstance(module, _CONVOLUTIONS) for module in model.modules())
    smallest = _SMALLEST_RUN_OF_IMAGES if convolves else _SMALLEST_RUN
    rows = len(x) * (1 if convolves else _tokens_of_a_sample(model, x))
    by_prefix = True
    turns: Sequence[Mapping[WidthControl, Position]]
    if rows >= smallest * len(runs) or len(runs) == 1 or not is_maskable(model):
        turns, parts = [turn for turn, _ in runs], [length for _, length in runs]
    else:
        layers = [module for module in model.modules() if isinstance(module, VariableLayer)]
        by_prefix = all(layer.takes_prefixes for layer in layers)
        blocks = max(1, min(_BLOCKS, len(x), rows // (2 * smallest)) if by_prefix else 1)
        split = [vector.tensor_split(blocks) for vector in ordered.values()]
        turns = [dict(zip(ordered, block, strict=True)) for block in zip(*split, strict=True)]
        parts = [len(block) for block in split[0]]
    widest = [
        {
            control: position if isinstance(position, int) else int(position.max())
            for control, position in turn.items()
        }
        for turn in turns
    ]
    if not by_prefix:
        widest = [{control: control.steps for control in ordered}]
    outputs = []
    samples = (x if order is None else x[order]).split(parts)
    copies = may_write_in_place(model)
    with ExitStack() as series:
        for control in ordered:
            positions = dict.fromkeys(most[control] for most in widest)
            series.enter_context(cut_in_series(control, [*positions]))
        for turn, most, rows in zip(turns, widest, samples, strict=True):
            with ExitStack() as turned:
                for control, position in turn.items():
                    turned.enter_context(at_width(control, position))
                    # Of rows with widths of their own, no unit is computed that none of them keeps.
                    turned.enter_context(with_setting(control, widest=most[control]))
                output = _check_tensor(model(rows.clone() if copies else rows))
                if not all(isinstance(position, int) for position in turn.values()):
                    output = keep_prefix(output, axis, dim)
                outputs.append(_pad_units(output, axis, dim))
    joined = _concatenate(outputs)
    return joined if order is None else joined[order.argsort()]


def _tokens_of_a_sample(model: nn.Module, x: Tensor) -> int:
    """Return how many rows a sample is for a linear layer: as many as it has tokens."""
    if not (x.is_floating_point() or x.is_complex()):
        return x[0].numel()  # An embedding makes a vector of each.
    if x.dim() < 3 or any(isinstance(module, _RESHAPES) for module in model.modules()):
        return 1
    return math.prod(x.shape[1:-1])


def _check_positions(model: nn.Module, widths: Any) -> dict[WidthControl, Tensor]:
    """Return a vector of positions for each knob that has one."""
    if not isinstance(widths, Mapping):
        control = single_control(model)
        return {
            control: check_widths("widths", widths, control.steps, hint=f"{control} sets the range")
        }
    own, given = check_controls(model), {}
    for control, vector in widths.items():
        if control not in own:
            raise ValueError(
                f"widths must name knobs of the model, got {short_repr(control)}; it has {own}"
            )
        given[control] = check_widths(
            "widths", vector, control.steps, hint=f"{control} sets the range"
        )
    if not given:
        raise ValueError(f"widths must name at least one knob, got none; the model has {own}")
    # A knob whose samples have widths of their own already keeps them, whatever the order.
    standing = {control: control.position for control in own if control not in given}
    given |= {c: each for c, each in standing.items() if isinstance(each, Tensor)}
    device = next(iter(given.values())).device
    return {control: vector.to(device) for control, vector in given.items()}


def runs_of(
    widths: Mapping[WidthControl, Tensor],
) -> list[tuple[dict[WidthControl, int], int]]:
    """Return the runs of neighbours that have all positions alike, each with its length."""
    if len(widths) == 1:  # in a third of the time
        ((control, vector),) = widths.items()
        values, counts = (each.tolist() for each in vector.unique_consecutive(return_counts=True))
        return [({control: value}, count) for value, count in zip(values, counts, strict=True)]
    table = torch.stack([*widths.values()], 1).cpu()
    starts = [0, *(1 + (table[1:] != table[:-1]).any(1).nonzero().squeeze(1)).tolist()]
    turns = [dict(zip(widths, row, strict=True)) for row in table[starts].tolist()]
    ends = [*starts[1:], len(table)]
    return [(turn, end - start) for turn, start, end in zip(turns, starts, ends, strict=True)]


def _sort_positions(
    widths: dict[WidthControl, Tensor],
) -> tuple[dict[WidthControl, Tensor], Tensor | None]:
    """Return the widths sorted, and the order that sorts them (None if they already were).

    With several knobs samples of equal widths come side by side, by the first knob first.
    """
    vectors = list(widths.values())
    if all(bool((vector.diff() >= 0).all()) for vector in vectors):
        return widths, None
    order = vectors[-1].sort(stable=True).indices
    for vector in vectors[-2::-1]:
        order = order[vector[order].sort(stable=True).indices]
    return {control: vector[order] for control, vector in widths.items()}, order


def _check_tensor(output: object) -> Tensor:
    if isinstance(output, Tensor):
        return output
    raise TypeError(
        f"model must return one tensor, got {type(output).__name__}; call it under "
        "at_width for other outputs"
    )


def _pad_units(output: Tensor, axis: int | Width, dim: int) -> Tensor:
    if not isinstance(axis, Width) or output.shape[dim] == axis.max_width:
        return output
    widest = {control: control.widest for control in axis.controls}
    return put_units(output, axis, kept_ranges(axis, widest), dim)


def _concatenate(outputs: list[Tensor]) -> Tensor:
    shapes = {tuple(output.shape[1:]) for output in outputs}
    if len(shapes) > 1:
        raise ValueError(
            f"model must return one shape at every width, got {sorted(shapes)}; end it with a "
            "fixed axis, or give it an attribute out_axis"
        )
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
