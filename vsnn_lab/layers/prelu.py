"""The variable PReLU: an activation with a slope for each channel."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_number
from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.layers.checkpointing import refuse_checkpointing
from vsnn_lab.layers.corners import Axis, Device, first_units
from vsnn_lab.widths import check_axis, full_size, keep_prefix


class VariablePReLU(VariableLayer, nn.PReLU):
    """`torch.nn.PReLU` whose slopes may be those of a variable axis.

    Args:
        num_parameters: 1 for one slope, which any units share; or the axis of the channels, an int
            or a `Width`, of which each has its own.
        init: First value of the slopes.
        device: As in torch.
        dtype: As in torch.

    Shape:
        (batch, channels, ...) to the same, cut to the channels that are kept; whole under a width
        vector. With one slope, any shape.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> layer = VariablePReLU(Width(8))
        >>> with at_width(layer, 3):
        ...     layer(torch.ones(2, 8, 5)).shape
        torch.Size([2, 3, 5])
    """

    own_attributes = ("axis", "in_axis", "out_axis")
    unit_dim = 1
    takes_prefixes = True

    # None where units share one slope: then it lies on no axis.
    axis: Axis | None
    in_axis: Axis | None  # type: ignore[assignment]
    out_axis: Axis | None  # type: ignore[assignment]

    def __init__(
        self,
        num_parameters: Axis = 1,
        init: float = 0.25,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        axis = check_axis("num_parameters", num_parameters)
        super().__init__(full_size(axis), check_number("init", init), device, dtype)
        self.axis = self.in_axis = self.out_axis = None if axis == 1 else axis

    def forward(self, input: Tensor) -> Tensor:
        """Apply the slopes of the channels kept at the width the knob stands at."""
        if self.axis is None:
            return F.prelu(input, self.weight)
        refuse_checkpointing(self.axis)
        x = keep_prefix(input, self.axis, 1)
        return F.prelu(x, first_units(self.weight, self.axis))

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        return {"weight": () if self.axis is None else (self.axis,)}

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        return {"num_parameters": 1 if self.axis is None else self.axis}

    def extra_repr(self) -> str:
        """Show the axis, not only its full size."""
        return f"num_parameters={1 if self.axis is None else self.axis}"
