"""What the models share: chains of modules whose axes may vary."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

from torch import nn

from vsnn_lab._basics.checks import (
    check_collection,
    check_flag,
    check_int,
    check_module,
    short_repr,
)
from vsnn_lab.layers import VariableConv2d, VariableConvTranspose2d, VariableLinear
from vsnn_lab.widths import Width, WidthControl, check_axis, knobs_of

Axis = int | Width
Activation = Callable[[], nn.Module]


class Chain(nn.Sequential):
    """A ``Sequential`` with a constructor of its own: a slice of it is a plain ``Sequential``."""

    def __getitem__(self, index: int | slice) -> nn.Module:
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self.named_children())[index]))
        return super().__getitem__(index)


def make_activation(activation: Activation) -> nn.Module:
    """Return a module that ``activation`` makes, or say what it is instead."""
    if isinstance(activation, nn.Module) or not callable(activation):
        raise TypeError(
            f"activation must make a module each time it is called, got {short_repr(activation)}; "
            "nn.ReLU does, nn.ReLU() is one"
        )
    return check_module("what activation makes", activation())


def linear_layer(fan_in: Axis, fan_out: Axis, variable: bool = False) -> nn.Linear:
    """Return a linear layer, a variable one if asked for or if an axis is."""
    if variable or isinstance(fan_in, Width) or isinstance(fan_out, Width):
        return VariableLinear(fan_in, fan_out)
    return nn.Linear(fan_in, fan_out)


def dense_layers(
    axes: Sequence[Axis], activation: Activation, variable: bool = False
) -> list[nn.Module]:
    """Return linear layers from axis to axis with an activation between any two."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(axes):
        layers += [linear_layer(fan_in, fan_out, variable), make_activation(activation)]
    return layers[:-1]


def halving_convolution(fan_in: Axis, fan_out: Axis, variable: bool = False) -> nn.Conv2d:
    """Return a convolution of 3 by 3 pixels that halves height and width, rounded up."""
    if variable or isinstance(fan_in, Width) or isinstance(fan_out, Width):
        return VariableConv2d(fan_in, fan_out, 3, stride=2, padding=1)
    return nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1)


def doubling_convolution(
    fan_in: Axis, fan_out: Axis, rest: tuple[int, int], variable: bool = False
) -> nn.ConvTranspose2d:
    """Return the mirror image of `halving_convolution`.

    Args:
        fan_in: Axis of its inputs.
        fan_out: Axis of its outputs.
        rest: What height and width have more than twice the smaller size less one: 0 or 1.
        variable: Whether it is a variable layer though its axes are not.
    """
    if variable or isinstance(fan_in, Width) or isinstance(fan_out, Width):
        return VariableConvTranspose2d(fan_in, fan_out, 3, 2, 1, rest)
    return nn.ConvTranspose2d(fan_in, fan_out, 3, 2, 1, rest)


def halved_size(size: int) -> int:
    """Return height or width after `halving_convolution`."""
    return -(-size // 2)


def shared_knob(conditioned: bool, axes: Sequence[Axis]) -> WidthControl | None:
    """Return the knob of all variable axes for layers that are conditioned by it, if they are."""
    if not check_flag("conditioned", conditioned):
        return None
    knobs = knobs_of(*axes)
    if len(knobs) != 1:
        raise ValueError(
            f"conditioned must be False unless all variable axes are on one knob, got {knobs}"
        )
    return knobs[0]


def check_axes(name: str, axes: Collection[Axis]) -> list[Axis]:
    """Return the axes of hidden layers, or say what is wrong with them."""
    check_collection(name, axes, "axes", hint="(256,) is a single layer")
    return [check_axis(name, axis) for axis in axes]


def check_convolutions(name: str, axes: Collection[Axis]) -> list[Axis]:
    """Return the axes of at least one convolution, or say what is wrong with them."""
    checked = check_axes(name, axes)
    if not checked:
        raise ValueError(f"{name} must name at least one convolution, got none")
    return checked


def check_shape(shape: Collection[int]) -> tuple[int, ...]:
    """Return the shape of one image or sample, or say what is wrong with it."""
    check_collection("shape", shape, "sizes", hint="(1, 28, 28) is one of MNIST's images")
    sizes = tuple(check_int("shape", size) for size in shape)
    if not sizes:
        raise ValueError(f"shape must name at least one dimension, got {short_repr(shape)}")
    return sizes


def check_image_shape(shape: Collection[int]) -> tuple[int, int, int]:
    """Return the shape of one image, or say what is wrong with it."""
    sizes = check_shape(shape)
    if len(sizes) != 3:
        raise ValueError(f"shape must be (channels, height, width), got {sizes}")
    return sizes
