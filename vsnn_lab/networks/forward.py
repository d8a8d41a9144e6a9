"""One width vector, two ways to compute it: dense slices, or masks.

Both give the same numbers; which is cheaper depends on how many samples share a width.
"""

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_rows
from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.layers.corners import cut_in_series
from vsnn_lab.networks.channels_last import channels_last
from vsnn_lab.networks.gate import is_maskable, may_write_in_place, output_axis
from vsnn_lab.widths import (
    Width,
    at_width,
    check_widths,
    keep_prefix,
    put_units,
    single_control,
    with_setting,
)

# Below this many samples a run costs more as a dense call of its own than as its share of one
# masked call: starting the operations and padding the gradients outweighs the multiplications.
# Measured on 2 cores, forward and backward of an MLP 784-256-256-10, batches of 256 and 1,024.
_SMALLEST_RUN = 64
# Of a network that convolves, which multiplies more for each sample. Measured on networks of 0.5
# and 39 million multiplications a sample, batches of 32 to 256.
_SMALLEST_RUN_OF_IMAGES = 32
# Samples that all have widths of their own are sorted into so many blocks, each computed as wide as
# its widest sample. A step of an MLP 32-256-256-256-32, batch 5,120, takes 1.22 times that of
# the plain network as one masked call, 0.77 in 4 blocks, 0.80 in 8, 1.01 in 16.
_BLOCKS = 4

_CONVOLUTIONS = nn.modules.conv._ConvNd


def forward_at_widths(model: nn.Module, x: Tensor, widths: Tensor) -> Tensor:
    """Run every sample of a batch at its own width.

    Samples of equal width form a run; long runs are computed as dense slices of the model, without
    masks. Where widths mostly differ, samples are sorted into a few blocks, masked within, of which
    each is computed as wide as its widest sample; or, if layers do more than take the first units
    of their weights, as one masked call. (Batch norm in training mode sees each
    run's own statistics when sliced.)

    Args:
        model: A module with one knob.
        x: Inputs, shape (batch, ...).
        widths: Knob positions, shape (batch,), in any order; neighbours of equal width are
            cheapest.

    Returns:
        Outputs in the order of the batch. If the model ends in a variable axis, the units beyond
        each sample's width are zero.

    Raises:
        TypeError: If ``widths`` is not an integer tensor, or the model returns no tensor.
        ValueError: If a width is out of range, there is not one per sample, or the output changes
            size with the width along an axis that the model does not tell.

    Example:
        >>> from vsnn_lab import VariableLinear, Width
        >>> layer = VariableLinear(4, Width(3), bias=False)
        >>> (forward_at_widths(layer, torch.ones(2, 4), torch.tensor([1, 2])) != 0).int()
        tensor([[1, 0, 0],
                [1, 1, 0]], dtype=torch.int32)
    """
    control = single_control(model)
    check_rows("x", x)
    widths = check_widths("widths", widths, control.steps, hint=f"{control} sets the range")
    if len(widths) != len(x):
        raise ValueError(
            f"widths must have one entry for each of the {len(x)} samples, got {len(widths)}"
        )
    axis, dim = output_axis(model)
    x = channels_last(model, x)
    ordered, order = _sort_widths(widths)
    values, counts = torch.unique_consecutive(ordered, return_counts=True)
    convolves = any(isinstance(module, _CONVOLUTIONS) for module in model.modules())
    smallest = _SMALLEST_RUN_OF_IMAGES if convolves else _SMALLEST_RUN
    by_prefix = True
    if len(x) >= smallest * len(values) or len(values) == 1 or not is_maskable(model):
        parts, turns = counts.tolist(), values.tolist()
    else:
        layers = [module for module in model.modules() if isinstance(module, VariableLayer)]
        by_prefix = all(layer.takes_prefixes for layer in layers)
        blocks = min(_BLOCKS, len(x) // (2 * smallest)) if by_prefix else 1
        turns = ordered.tensor_split(max(1, blocks))
        parts = [len(turn) for turn in turns]
    outputs = []
    widest = [int(turn.max()) if isinstance(turn, Tensor) else turn for turn in turns]
    if not by_prefix:
        widest = [control.steps]
    samples = (x if order is None else x[order]).split(parts)
    copies = may_write_in_place(model)
    with cut_in_series(control, widest):
        for turn, most, rows in zip(turns, widest, samples, strict=True):
            # Where rows have widths of their own, no unit is computed that none of them keeps.
            with at_width(control, turn), with_setting(control, widest=most):
                output = _check_tensor(model(rows.clone() if copies else rows))
                if isinstance(turn, Tensor):
                    output = keep_prefix(output, axis, dim)
                outputs.append(_pad_units(output, axis, dim))
    joined = _concatenate(outputs)
    return joined if order is None else joined[order.argsort()]


def _sort_widths(widths: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the widths sorted, and the order that sorts them (None if they already were)."""
    if bool((widths.diff() >= 0).all()):
        return widths, None
    ordered, order = widths.sort(stable=True)
    return ordered, order


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
    return put_units(output, axis, axis.ranges(widest), dim)


def _concatenate(outputs: list[Tensor]) -> Tensor:
    shapes = {tuple(output.shape[1:]) for output in outputs}
    if len(shapes) > 1:
        raise ValueError(
            f"model must return one shape at every width, got {sorted(shapes)}; end it with a "
            "fixed axis, or give it an attribute out_axis"
        )
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
