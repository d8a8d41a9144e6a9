"""The fully connected network."""

from collections.abc import Sequence

from torch import nn

from vsnn_lab.networks.blocks import (
    Activation,
    Axis,
    Chain,
    check_axes,
    dense_layers,
    shared_knob,
)
from vsnn_lab.networks.conditioning import condition_on
from vsnn_lab.widths import check_axis


class MLP(Chain):
    """A fully connected network; each of its axes may be a `Width`.

    Args:
        in_features: Input axis.
        hidden: Axes of the hidden layers, any number.
        out_features: Output axis.
        activation: Makes the module between two layers.
        conditioned: Whether narrow widths have weights of their own (`condition`), so that they
            take nothing from full width; extracted, layers are ordinary ones. All variable axes
            must be on one knob.

    Shape:
        (batch, in_features) to (batch, out_features).

    Example:
        >>> from vsnn_lab import Width
        >>> MLP(784, (Width(256), Width(256)), 10)[0]
        VariableLinear(784, Width(256), bias=True)
    """

    def __init__(
        self,
        in_features: Axis,
        hidden: Sequence[Axis],
        out_features: Axis,
        activation: Activation = nn.ReLU,
        conditioned: bool = False,
    ) -> None:
        axes = [
            check_axis("in_features", in_features),
            *check_axes("hidden", hidden),
            check_axis("out_features", out_features),
        ]
        knob = shared_knob(conditioned, axes)
        super().__init__(*dense_layers(axes, activation, knob is not None))
        condition_on(self, knob)
