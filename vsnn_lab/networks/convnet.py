"""The convolutional classifier."""

import math
from collections.abc import Sequence

from torch import nn

from vsnn_lab._basics.checks import check_int
from vsnn_lab.networks.blocks import (
    Activation,
    Axis,
    Chain,
    check_convolutions,
    check_image_shape,
    halved_size,
    halving_convolution,
    linear_layer,
    make_activation,
    shared_knob,
)
from vsnn_lab.networks.conditioning import condition_on


class ConvNet(Chain):
    """A convolutional classifier; each of its channel axes may be a `Width`.

    Each convolution of 3 by 3 pixels halves height and width, rounded up; a linear layer makes the
    classes of what is left.

    Args:
        shape: Shape of one image, (channels, height, width).
        channels: Axes of the convolutions' outputs, from the image inwards.
        classes: Number of classes.
        activation: Makes the module after each convolution.
        conditioned: Whether narrow widths have weights of their own (`condition`), so that they
            take nothing from full width; extracted, layers are ordinary ones. All variable axes
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
        shape = check_image_shape(shape)
        axes = check_convolutions("channels", channels)
        knob = shared_knob(conditioned, axes)
        own = knob is not None
        layers: list[nn.Module] = []
        fan_in: Axis
        fan_in, *sides = shape
        for fan_out in axes:
            layers += [
                halving_convolution(fan_in, fan_out, own),
                make_activation(activation),
            ]
            fan_in, sides = fan_out, [halved_size(side) for side in sides]
        head = linear_layer(fan_in * math.prod(sides), check_int("classes", classes), own)
        super().__init__(*layers, nn.Flatten(), head)
        condition_on(self, knob)
        self.shape = shape
