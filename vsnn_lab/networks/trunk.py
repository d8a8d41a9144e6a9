"""What a network computes alike at every width, so that several widths can share the work."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypeGuard

import torch
from torch import Tensor, nn

from vsnn_lab._basics.sums import sums_are_safe
from vsnn_lab.layers import VariableLayer, VariableLinear
from vsnn_lab.layers.corners import first_units
from vsnn_lab.networks.channels_last import channels_last
from vsnn_lab.networks.gate import (
    is_elementwise,
    may_write_in_place,
    output_axis,
    private_copy,
    proven_chain,
)
from vsnn_lab.widths import (
    Width,
    WidthControl,
    at_width,
    check_controls,
    kept_size,
    turn_together,
)


def outputs_by_width(model: nn.Module, x: Tensor, widths: Sequence[int]) -> Iterator[Tensor]:
    """Run a network without gradient at one width after the other, each built on the last.

    In a chain, what comes before the first variable axis is run once for all widths, and a linear
    layer that takes this axis adds only the units that a width has more than the one before. A
    chain whose layers have corrections of their own starts anew where they change; a model that is
    not proven to be a chain runs whole at every width, on a copy of the inputs, and so does one
    with several knobs. The outputs are those of ``at_width(model, width)``, but for the rounding of
    sums in another order.

    Args:
        model: A module with one knob, or several.
        x: Inputs, shape (batch, ...).
        widths: Knob positions, ascending; joint ones of several knobs.

    Yields:
        The output at each of them.
    """
    controls = check_controls(model)
    control = controls[0]
    modules = (proven_chain(model) or []) if len(controls) == 1 else []
    shared, x = _count_shared(modules), channels_last(model, x)
    if len(widths) < 2 or not (shared or (modules and _sums_over_units(modules[0]))):
        copies = may_write_in_place(model)
        for width in widths:
            turn = turn_together(controls, width) if len(controls) > 1 else {control: width}
            with torch.no_grad(), at_width(model, turn):
                output = model(x.clone() if copies else x)
            yield output
        return
    with torch.no_grad(), at_width(control, widths[0]):
        model(private_copy(model, x[:1]))  # What the model's own forward may have to say of it.

    def reach(width: int) -> int:
        tops = [_widest_alike(module, width) for module in modules[: shared + 1]]
        return min((top for top in tops if top), default=control.steps)

    for top, group in groupby(widths, reach):
        yield from _outputs_up_to(top, control, modules, shared, x, list(group))


def _outputs_up_to(
    top: int,
    control: WidthControl,
    modules: Sequence[nn.Module],
    shared: int,
    x: Tensor,
    widths: Sequence[int],
) -> Iterator[Tensor]:
    """Yield outputs at widths up to ``top``, where the shared modules give the units of all."""
    trunk, rest = nn.Sequential(*modules[:shared]), nn.Sequential(*modules[shared:])
    axis, dim = output_axis(trunk)
    with torch.no_grad(), at_width(control, top):
        units = trunk(private_copy(trunk, x))
    sums, copies = None, may_write_in_place(rest)
    first = rest[0] if len(rest) and units.dim() == 2 else trunk
    if _sums_over_units(first) and sums_are_safe(units, first.weight, first.bias):
        sums = _sums_by_width(first, control, top, units, widths)
    for width in widths:
        # Entered for each output alone: between two of them the caller may turn the knob.
        with torch.no_grad(), at_width(control, width):
            if sums is None:
                prefix = first_units(units, axis, dim)
                output = rest(prefix.clone() if copies else prefix)
            else:
                output = rest[1:](next(sums))
        yield output


def _sums_by_width(
    layer: VariableLinear, control: WidthControl, top: int, units: Tensor, widths: Sequence[int]
) -> Iterator[Tensor]:
    """Yield a linear layer's output at each width, from that at the width before."""
    parts = layer.cut({control: top})
    weight, bias = parts["weight"], parts.get("bias")
    total, done = units.new_zeros(len(units), len(weight)), 0
    for width in widths:
        fan_in = kept_size(layer.in_axis, {control: width})
        total.addmm_(units[:, done:fan_in], weight[:, done:fan_in].T)
        done = fan_in
        out = kept_size(layer.out_axis, {control: width})
        # A tensor of its own, since what follows may change it in place.
        yield total[:, :out].clone() if bias is None else total[:, :out] + bias[:out]


def _count_shared(modules: Sequence[nn.Module]) -> int:
    """Return how many modules come before what takes a variable axis."""
    varies = False
    for index, module in enumerate(modules):
        if varies and not is_elementwise(module):
            return index
        if any(isinstance(part, VariableLayer) for part in module.modules()):
            if not (isinstance(module, VariableLayer) and isinstance(module.in_axis, int)):
                return index
            if isinstance(module.out_axis, Width) and not module.out_axis.is_prefix:
                return index
            varies = isinstance(module.out_axis, Width)
    return len(modules)


def _sums_over_units(module: nn.Module) -> TypeGuard[VariableLinear]:
    """Whether a layer's output is a sum over units that widths add to one by one."""
    if not (isinstance(module, VariableLinear) and isinstance(module.in_axis, Width)):
        return False
    axes = module.in_axis, module.out_axis
    return all(isinstance(axis, int) or axis.is_prefix for axis in axes)


def _widest_alike(module: nn.Module, position: int) -> int | None:
    return module.widest_alike(position) if isinstance(module, VariableLayer) else None
