"""What all variable layers share, and what `extract` and the budgets know of them."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from types import NoneType
from typing import ClassVar

import torch
from torch import Tensor, nn

from vsnn_lab.layers.corners import Axis
from vsnn_lab.layers.options import checked_options
from vsnn_lab.widths import Width, WidthControl, kept_size

# A layer's weight and bias.
Kept = tuple[Tensor, Tensor | None]


class VariableLayer(nn.Module):
    """A torch layer some of whose axes may be a `Width`.

    A subclass derives from the plain layer, too, and names here what of it belongs to which axis;
    cutting and counting need no more. On a copy that `extract` made the axes are ints.
    """

    # Where the units of the output lie, counted from the end.
    unit_dim: int = -1
    # The attributes that the plain layer does not have.
    own_attributes: ClassVar[tuple[str, ...]] = ("in_axis", "out_axis")

    # Whether the forward takes the first units of its parameters and nothing else that depends on
    # the width: then rows that have widths of their own need no unit beyond the widest of them.
    takes_prefixes: ClassVar[bool] = False

    in_axis: Axis
    out_axis: Axis

    def __init__(self, *args, **options) -> None:
        plain = super().__init__
        plain(**checked_options(signature(plain).bind(*args, **options).arguments))

    def widest_like(self, position: int) -> int | None:
        """Return the widest position whose outputs begin with those of another.

        None means full width: with the same inputs a narrow layer gives the first outputs of any
        wider one. A layer with something of its own for some widths says how far that reaches.
        """
        return None

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter; further ones stay whole."""
        raise NotImplementedError

    @property
    def buffer_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The same for each buffer."""
        return {}

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        raise NotImplementedError

    def cut(self, positions: Mapping[WidthControl, int]) -> dict[str, Tensor]:
        """Return what a submodel keeps of each parameter and buffer, as tensors of its own."""
        parts = {}
        for name, axes in (self.parameter_axes | self.buffer_axes).items():
            if (part := getattr(self, name)) is None:
                continue
            part = part.detach()
            for dim, axis in enumerate(axes):
                part = part.narrow(dim, 0, kept_size(axis, positions))
            # A narrowed view would keep the whole tensor alive, in memory and in files.
            parts[name] = part.clone(memory_format=torch.contiguous_format)
        return parts


def remembered(cut: Callable[[VariableLayer], Kept]) -> Callable[[VariableLayer], Kept]:
    """Call a method that cuts weight and bias once for as long as the knob stands still.

    Views show whatever is written into the parameters, and to cut them again for each sample would
    take as long as to multiply. Where gradients are recorded they belong to the step.
    """

    @wraps(cut)
    def kept(layer: VariableLayer) -> Kept:
        out_axis, in_axis = layer.out_axis, layer.in_axis
        axis = in_axis if isinstance(out_axis, int) else out_axis
        if torch.is_grad_enabled() or isinstance(axis, int) or torch.compiler.is_compiling():
            return cut(layer)
        memo, parameters = axis.control.setting.memo, layer._parameters
        weight, bias = parameters["weight"], parameters["bias"]
        # What stands in for a parameter, in `torch.func` say, may lie nowhere.
        if not all(type(part) in (nn.Parameter, NoneType) for part in (weight, bias)):
            return cut(layer)
        # A parameter may be another one by now, and its values elsewhere.
        lies = weight.data_ptr(), 0 if bias is None else bias.data_ptr()
        found = memo.get(id(layer))
        if found and found[0] is weight and found[1] is bias and found[2] == lies:
            return found[3]
        parts = cut(layer)
        # Only where there is no other knob to be turned.
        if isinstance(in_axis, int) or in_axis.control is axis.control:
            memo[id(layer)] = weight, bias, lies, parts
        return parts

    return kept


def is_masked(axis: Axis) -> bool:
    """Whether each sample has a width of its own along ``axis`` now."""
    return isinstance(axis, Width) and not isinstance(axis.control.position, int)
