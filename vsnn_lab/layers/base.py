"""What all variable layers share, and what `extract` and the budgets know of them."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from operator import attrgetter
from types import NoneType
from typing import Any, ClassVar, TypeGuard, TypeVar

import torch
from torch import Tensor, nn

from vsnn_lab.layers.corners import Axis
from vsnn_lab.layers.options import checked_options
from vsnn_lab.widths import Width, WidthControl, kept_ranges, knobs_of, take_units

WeightAndBias = tuple[Tensor, Tensor | None]
Layer = TypeVar("Layer", bound="VariableLayer")


class VariableLayer(nn.Module):
    """A torch layer some of whose axes may be a `Width`.

    A subclass derives from the plain layer, too, and names here what of it belongs to which axis;
    cutting and counting need no more. On a copy that `extract` made the axes are ints.

    A class of your own that computes more than the layer it derives from says how that folds away:
    ``plain_class`` names the torch layer that its submodels are, ``own_attributes`` what that one
    does not have, tensors included, and ``cut`` returns weight and bias with all of it folded in.

    Example:
        >>> from vsnn_lab import VariableLinear, Width, extract
        >>> class ScaledLinear(VariableLinear):
        ...     plain_class = nn.Linear
        ...     own_attributes = (*VariableLinear.own_attributes, "scale")
        ...
        ...     def __init__(self, in_features, out_features):
        ...         super().__init__(in_features, out_features)
        ...         self.scale = nn.Parameter(torch.tensor(2.0))
        ...
        ...     def forward(self, input):
        ...         return self.scale * super().forward(input)
        ...
        ...     def cut(self, positions):
        ...         parts = super().cut(positions)
        ...         return {name: self.scale * part for name, part in parts.items()}
        >>> extract(ScaledLinear(4, Width(8)), 3)
        Linear(in_features=4, out_features=3, bias=True)
    """

    # The torch layer that a submodel has in place of this one. A class of this package has that
    # which it derives from; a class outside of it says so in its own body, as it is not inherited.
    plain_class: ClassVar[type[nn.Module] | None] = None

    # The attributes that the plain layer does not have.
    own_attributes: ClassVar[tuple[str, ...]] = ("in_axis", "out_axis")

    # Whether the forward takes the first units of its parameters and nothing else that depends on
    # the width: then rows that have widths of their own need no unit beyond the widest of them.
    takes_prefixes: ClassVar[bool] = False

    # Whether the forward takes one tensor and returns one, as what follows in a chain expects.
    is_link: ClassVar[bool] = True

    in_axis: Axis
    out_axis: Axis

    def __init__(self, *args: Any, **options: Any) -> None:
        plain = super().__init__
        plain(**checked_options(signature(plain).bind(*args, **options).arguments))

    @property
    def unit_dim(self) -> int:
        """Where the units of the output lie."""
        return -1

    def widest_alike(self, position: int) -> int | None:
        """Return the widest position whose outputs begin with those of another.

        None means full width: with the same inputs a narrow layer gives the first outputs of any
        wider one. A layer with something of its own for some widths says how far that reaches.
        """
        return None

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter; further ones stay whole.

        ``child.weight`` is that of a module inside, which this layer then applies and cuts: all of
        its tensors have to be named.
        """
        return {}

    @property
    def buffer_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The same for each buffer."""
        return {}

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        return {}

    @property
    def plain_form(self) -> type[nn.Module] | None:
        """The class of a submodel, where that depends on axes that are ints by now."""
        return None

    @property
    def inner_modules(self) -> set[str]:
        """The names of the modules inside whose tensors this layer cuts."""
        names = self.parameter_axes | self.buffer_axes
        return {path for name in names if (path := name.rpartition(".")[0])}

    def folds(self, positions: Mapping[WidthControl, int]) -> bool:
        """Whether `cut` gives more than first units: then no tie to another layer is left."""
        return type(self).cut is not VariableLayer.cut

    def plain_module(self) -> nn.Sequential | None:
        """Return what a submodel has in place of this layer, if its plain class does not do.

        It is asked of the copy, whose axes are ints, and holds no hooks or tensors of its own.
        """
        return None

    def cut(self, positions: Mapping[WidthControl, int]) -> dict[str, Tensor]:
        """Return what a submodel keeps of each parameter and buffer, as tensors of its own."""
        parts = {}
        for name, axes in (self.parameter_axes | self.buffer_axes).items():
            if (part := attrgetter(name)(self)) is None:
                continue
            part = part.detach()
            for dim, axis in enumerate(axes):
                if isinstance(axis, Width):
                    part = take_units(part, kept_ranges(axis, positions), dim)
                else:
                    part = part.narrow(dim, 0, axis)
            # A narrowed view would keep the whole tensor alive, in memory and in files.
            parts[name] = part.clone(memory_format=torch.contiguous_format)
        return parts


class WeightedLayer(VariableLayer):
    """A layer of a weight and a bias, which first units of them are applied like."""

    weight: Tensor

    def kept_parameters(self) -> WeightAndBias:
        """Return weight and bias at the width the knobs stand at."""
        raise NotImplementedError

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply a weight and a bias as this layer applies its own."""
        raise NotImplementedError


# Stands in for a bias that is no parameter, as None is one that is not there.
_RECOMPUTED = torch.empty(0)


def remember_slices(
    slice_parameters: Callable[[Layer], WeightAndBias],
) -> Callable[[Layer], WeightAndBias]:
    """Call a method that slices weight and bias once for as long as the knob stands still.

    Views show whatever is written into the parameters, and to cut them again for each sample would
    take as long as to multiply. Where gradients are recorded they belong to the step.
    """

    @wraps(slice_parameters)
    def remembered(layer: Layer) -> WeightAndBias:
        axes = layer.out_axis, layer.in_axis
        controls = knobs_of(*axes)
        # Only where there is no other knob to be turned, and where they are views: what is taken
        # of a joined axis is a copy, which sees nothing of what is written later.
        views = all(isinstance(axis, int) or axis.is_prefix for axis in axes)
        fresh = torch.is_grad_enabled() or torch.compiler.is_compiling()
        if fresh or not views or len(controls) != 1:
            return slice_parameters(layer)
        memo, parameters = controls[0].setting.memo, layer._parameters
        weight, bias = parameters.get("weight"), parameters.get("bias", _RECOMPUTED)
        # What stands in for a parameter, in `torch.func` say, may lie nowhere; what a hook or a
        # parametrization recomputes is none.
        if type(weight) is not nn.Parameter or type(bias) not in (nn.Parameter, NoneType):
            return slice_parameters(layer)
        # A parameter may be another one by now, and its values elsewhere. What was sliced to
        # evaluate says nothing of checkpointing, which `first_corner` refuses.
        state = weight.data_ptr(), 0 if bias is None else bias.data_ptr(), layer.training
        found = memo.get(id(layer))
        if found and found[0] is weight and found[1] is bias and found[2] == state:
            return found[3]
        parts = slice_parameters(layer)
        memo[id(layer)] = weight, bias, state, parts
        return parts

    return remembered


def ask_for_forward(layer: nn.Module, inputs: Any) -> None:
    """Do nothing: a hook that keeps torch from reading a layer's weight past its forward.

    ``nn.TransformerEncoderLayer`` does so on its fast path, which it does not take where a layer
    has a hook. It is for layers that at full width are more than their weight.
    """


def is_at_rest(*axes: Axis) -> bool:
    """Whether all of ``axes`` stand at full width, for all samples alike."""
    controls = knobs_of(*axes)
    return all(isinstance(c.position, int) and c.position == c.steps for c in controls)


def is_masked(axis: Axis) -> TypeGuard[Width]:
    """Whether each sample has a width of its own along ``axis`` now."""
    return any(not isinstance(control.position, int) for control in knobs_of(axis))
