"""The convolutional classifier."""

import math
from collections.abc import Sequence

from torch import nn

from vsnn_lab._checks import check_int
from vsnn_lab.layers import OctaveConv2d, VariableConv2d
from vsnn_lab.models.chain import (
    Activation,
    Axis,
    Chain,
    check_axes,
    made,
    octave_layer,
    shared_knob,
)
from vsnn_lab.widths import Width


class ConvNet(Chain):
    """A convolutional classifier; each of its channel axes may be a `Width`.

    Each convolution of 3 by 3 pixels halves height and width, rounded up; a linear layer makes the
    classes of what is left.

    Args:
        shape: Shape of one image, (channels, height, width).
        channels: Axes of the convolutions' outputs, from the image inwards.
        classes: Number of classes.
        activation: Makes the module after each convolution.
        conditioned: Whether the layers have weights of their own for each octave of widths
            (`OctaveConv2d`, `OctaveLinear`); extracted, they are ordinary ones. All variable axes
            must be on one knob.

    Shape:
        ``(batch, *shape)`` to (batch, classes).

    Example:
        >>> import torch
        >>> from vsnn_lab import Width
        >>> channels = Width(32)
        >>> ConvNet((1, 28, 28), (channels, channels), 10)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[Axis],
        classes: int,
        activation: Activation = nn.ReLU,
        conditioned: bool = False,
    ) -> None:
        sizes = [check_int("shape", size) for size in check_shape(shape)]
        axes = check_axes("channels", channels)
        if not axes:
            raise ValueError("channels must name at least one convolution, got none")
        knob = shared_knob(conditioned, axes)
        layers: list[nn.Module] = []
        fan_in, sides = sizes[0], sizes[1:]
        for fan_out in axes:
            layers += [_convolution(fan_in, fan_out, knob), made(activation)]
            fan_in, sides = fan_out, [-(-side // 2) for side in sides]
        head = octave_layer(fan_in * math.prod(sides), check_int("classes", classes), knob)
        super().__init__(*layers, nn.Flatten(), head)
        self.shape = tuple(sizes)


def check_shape(shape: Sequence[int]) -> Sequence[int]:
    """Return the shape of an image, or say what is wrong with it."""
    if not isinstance(shape, tuple | list) or len(shape) != 3:
        raise ValueError(f"shape must be (channels, height, width), got {shape!r}")
    return shape


def _convolution(fan_in: Axis, fan_out: Axis, knob) -> nn.Conv2d:
    options = {"stride": 2, "padding": 1}
    if knob is not None:
        return OctaveConv2d(fan_in, fan_out, 3, knob, **options)
    varies = isinstance(fan_in, Width) or isinstance(fan_out, Width)
    return (VariableConv2d if varies else nn.Conv2d)(fan_in, fan_out, 3, **options)
