"""The variable bilinear layer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.layers.corners import Axis, Device, first_corner, first_units
from vsnn_lab.widths import check_axis, full_size, keep_prefix


class VariableBilinear(VariableLayer, nn.Bilinear):
    """`torch.nn.Bilinear` each of whose three axes may be variable.

    Args:
        in1_features: Axis of the first input: an int, or a `Width`.
        in2_features: Axis of the second input: the same.
        out_features: Output axis: the same. The other arguments are torch's.

    Shape:
        Inputs (batch, ..., in1_features) and (batch, ..., in2_features), output
        (batch, ..., out_features), each variable axis cut to the units that are kept. Under a width
        vector all stay whole, and the units of the inputs beyond a sample's width count as zero.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> width = Width(8)
        >>> layer = VariableBilinear(width, 4, width)
        >>> with at_width(layer, 3):
        ...     layer(torch.ones(2, 8), torch.ones(2, 4)).shape
        torch.Size([2, 3])
    """

    own_attributes = ("in1_axis", "in2_axis", "out_axis")
    takes_prefixes = True

    in_axis = None  # type: ignore[assignment] # there are two
    in1_axis: Axis
    in2_axis: Axis

    def __init__(
        self,
        in1_features: Axis,
        in2_features: Axis,
        out_features: Axis,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        in1_axis = check_axis("in1_features", in1_features)
        in2_axis = check_axis("in2_features", in2_features)
        out_axis = check_axis("out_features", out_features)
        sizes = map(full_size, (in1_axis, in2_axis, out_axis))
        super().__init__(*sizes, bias, device, dtype)
        self.in1_axis, self.in2_axis, self.out_axis = in1_axis, in2_axis, out_axis

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Apply the layer at the width its knobs stand at."""
        first, second = keep_prefix(input1, self.in1_axis), keep_prefix(input2, self.in2_axis)
        weight = first_corner(self.weight, self.out_axis, self.in1_axis)
        weight = first_units(weight, self.in2_axis, 2)
        return F.bilinear(first, second, weight, first_units(self.bias, self.out_axis))

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        return {"weight": (self.out_axis, self.in1_axis, self.in2_axis), "bias": (self.out_axis,)}

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        return {
            "in1_features": self.in1_axis,
            "in2_features": self.in2_axis,
            "out_features": self.out_axis,
        }

    def extra_repr(self) -> str:
        """Show the axes, not only their full sizes."""
        axes = f"{self.in1_axis}, {self.in2_axis}, {self.out_axis}"
        return f"{axes}, bias={self.bias is not None}"
