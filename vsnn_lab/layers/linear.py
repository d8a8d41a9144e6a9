"""The variable linear layer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab.layers.base import WeightAndBias, WeightedLayer, remember_slices
from vsnn_lab.layers.corners import Axis, Device, first_corner, first_units
from vsnn_lab.widths import Width, check_axis, full_size, keep_prefix


class VariableLinear(WeightedLayer, nn.Linear):
    """`torch.nn.Linear` whose input, output or both may be variable.

    Args:
        in_features: Input axis: an int, or a `Width`.
        out_features: Output axis: an int, or a `Width`.
        bias: Whether to add a bias.
        device: As in torch.
        dtype: As in torch.

    Shape:
        Input (batch, ..., in_features), output (batch, ..., out_features), each variable axis cut
        to the units that are kept. Under a width vector both stay whole, and the units of the
        input beyond a sample's width count as zero; those of the output are for the next layer
        to leave out.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.

    Example:
        >>> import torch
        >>> from vsnn_lab import Width, at_width
        >>> layer = VariableLinear(4, Width(8))
        >>> with at_width(layer, 3):
        ...     layer(torch.ones(2, 4)).shape
        torch.Size([2, 3])
    """

    takes_prefixes = True

    def __init__(
        self,
        in_features: int | Width,
        out_features: int | Width,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        in_axis = check_axis("in_features", in_features)
        out_axis = check_axis("out_features", out_features)
        super().__init__(full_size(in_axis), full_size(out_axis), bias, device, dtype)
        self.in_axis = in_axis
        self.out_axis = out_axis

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer at the width its knobs stand at."""
        return self.compute(keep_prefix(input, self.in_axis), *self.kept_parameters())

    @remember_slices
    def kept_parameters(self) -> WeightAndBias:
        """Return weight and bias at the width the knobs stand at."""
        weight = first_corner(self.weight, self.out_axis, self.in_axis)
        return weight, first_units(self.bias, self.out_axis)

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply a weight and a bias as this layer applies its own."""
        return F.linear(x, weight, bias)

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        return {"weight": (self.out_axis, self.in_axis), "bias": (self.out_axis,)}

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        return {"in_features": self.in_axis, "out_features": self.out_axis}

    def extra_repr(self) -> str:
        """Show the axes, not only their full sizes."""
        return f"{self.in_axis}, {self.out_axis}, bias={self.bias is not None}"
