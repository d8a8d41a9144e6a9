"""Variable convolutions and transposed convolutions.

The arguments are those of the torch layer, with ``in_channels`` and ``out_channels`` an int or a
`Width`. Groups can be cut only whole: with a variable axis and more than one group, both axes must
keep the same groups at every position, as in a depthwise convolution; anything else is a
``ValueError``.

Shape:
    Input ``([batch], in_channels, *size)``, output ``([batch], out_channels, *size)``, each
    variable axis cut to the channels that are kept. Under a width vector both stay whole, and the
    channels of the input beyond a sample's width count as zero.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab.layers.base import (
    VariableLayer,
    WeightAndBias,
    WeightedLayer,
    remember_slices,
)
from vsnn_lab.layers.checkpointing import refuse_checkpointing
from vsnn_lab.layers.corners import Axis, first_corner, first_units
from vsnn_lab.layers.groups import check_whole_groups
from vsnn_lab.widths import check_axis, full_size, keep_prefix, widest_size


class _Convolution(VariableLayer, nn.modules.conv._ConvNd):
    """What convolutions of any dimension and direction share."""

    def __init__(self, in_channels: Axis, out_channels: Axis, *args: Any, **options: Any) -> None:
        in_axis = check_axis("in_channels", in_channels)
        out_axis = check_axis("out_channels", out_channels)
        super().__init__(full_size(in_axis), full_size(out_axis), *args, **options)
        check_whole_groups("groups", self.groups, in_channels=in_axis, out_channels=out_axis)
        self.in_axis = in_axis
        self.out_axis = out_axis

    takes_prefixes = True

    @property
    def unit_dim(self) -> int:
        """Where the channels lie, counted from the end."""
        return -1 - len(self.kernel_size)

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        groups = self._groups(self.in_axis)
        return {"in_channels": self.in_axis, "out_channels": self.out_axis, "groups": groups}

    def _groups(self, channels: Axis) -> int:
        """Return the groups among the first ``channels`` of the input."""
        # On a copy to be cut the axis is an int, and `in_channels` still the full number.
        whole = self.groups == 1
        return 1 if whole else self.groups * full_size(channels) // self.in_channels

    def _first_weights(self, rows: Axis, columns: Axis) -> Tensor:
        """Return the weight as wide as it is computed now; groups are whole rows of it."""
        if self.groups == 1:
            return first_corner(self.weight, rows, columns)
        refuse_checkpointing(rows)
        return first_units(self.weight, rows)

    def extra_repr(self) -> str:
        """Show the axes, not only their full sizes."""
        sizes, _, rest = super().extra_repr().partition(", kernel_size")
        return f"{self.in_axis}, {self.out_axis}, kernel_size{rest}" if rest else sizes


class _Forward(WeightedLayer, _Convolution):
    _convolve: ClassVar[Callable[..., Tensor]]

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer at the width its knobs stand at."""
        return self.compute(
            keep_prefix(input, self.in_axis, self.unit_dim), *self.kept_parameters()
        )

    @remember_slices
    def kept_parameters(self) -> WeightAndBias:
        """Return weight and bias at the width the knobs stand at."""
        return self._first_weights(self.out_axis, self.in_axis), first_units(
            self.bias, self.out_axis
        )

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply a weight and a bias as this layer applies its own."""
        padding: str | int | tuple[int, ...] = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        groups = self._groups(widest_size(self.in_axis))
        return type(self)._convolve(x, weight, bias, self.stride, padding, self.dilation, groups)

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        fan_in = (self.in_axis,) if self.groups == 1 else ()
        return {"weight": (self.out_axis, *fan_in), "bias": (self.out_axis,)}


class _Transposed(WeightedLayer, _Convolution, nn.modules.conv._ConvTransposeNd):
    _convolve: ClassVar[Callable[..., Tensor]]

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Apply the layer at the width its knobs stand at; ``output_size`` as in torch."""
        x = keep_prefix(input, self.in_axis, self.unit_dim)
        return self.compute(x, *self.kept_parameters(), output_size)

    def kept_parameters(self) -> WeightAndBias:
        """Return weight and bias at the width the knobs stand at."""
        weight = self._first_weights(self.in_axis, self.out_axis)
        return weight, first_units(self.bias, self.out_axis)

    def compute(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, output_size: list[int] | None = None
    ) -> Tensor:
        """Apply a weight and a bias as this layer applies its own."""
        # Torch says lists where it means tuples, too.
        sizes: tuple[Any, ...] = (self.stride, self.padding, self.kernel_size)
        more: tuple[Any, ...] = (len(self.kernel_size), self.dilation)
        output_padding = self._output_padding(x, output_size, *sizes, *more)
        groups = self._groups(widest_size(self.in_axis))
        return type(self)._convolve(
            x, weight, bias, self.stride, self.padding, output_padding, groups, self.dilation
        )

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        fan_out = (self.out_axis,) if self.groups == 1 else ()
        return {"weight": (self.in_axis, *fan_out), "bias": (self.out_axis,)}


class VariableConv1d(_Forward, nn.Conv1d):
    """`torch.nn.Conv1d` with variable channels, as this module describes.

    Example:
        >>> from vsnn_lab import Width
        >>> VariableConv1d(3, Width(8), kernel_size=3)
        VariableConv1d(3, Width(8), kernel_size=(3,), stride=(1,))
    """

    _convolve = staticmethod(F.conv1d)


class VariableConv2d(_Forward, nn.Conv2d):
    """`torch.nn.Conv2d` with variable channels, as this module describes.

    Example:
        >>> from vsnn_lab import Width
        >>> VariableConv2d(3, Width(8), kernel_size=3)
        VariableConv2d(3, Width(8), kernel_size=(3, 3), stride=(1, 1))
    """

    _convolve = staticmethod(F.conv2d)


class VariableConv3d(_Forward, nn.Conv3d):
    """`torch.nn.Conv3d` with variable channels, as this module describes.

    Example:
        >>> from vsnn_lab import Width
        >>> VariableConv3d(3, Width(8), kernel_size=3)
        VariableConv3d(3, Width(8), kernel_size=(3, 3, 3), stride=(1, 1, 1))
    """

    _convolve = staticmethod(F.conv3d)


class VariableConvTranspose1d(_Transposed, nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` with variable channels, as this module describes.

    Example:
        >>> from vsnn_lab import Width
        >>> VariableConvTranspose1d(3, Width(8), kernel_size=3)
        VariableConvTranspose1d(3, Width(8), kernel_size=(3,), stride=(1,))
    """

    _convolve = staticmethod(F.conv_transpose1d)


class VariableConvTranspose2d(_Transposed, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with variable channels, as this module describes.

    Example:
        >>> from vsnn_lab import Width
        >>> VariableConvTranspose2d(3, Width(8), kernel_size=3)
        VariableConvTranspose2d(3, Width(8), kernel_size=(3, 3), stride=(1, 1))
    """

    _convolve = staticmethod(F.conv_transpose2d)


class VariableConvTranspose3d(_Transposed, nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` with variable channels, as this module describes.

    Example:
        >>> from vsnn_lab import Width
        >>> VariableConvTranspose3d(3, Width(8), kernel_size=3)
        VariableConvTranspose3d(3, Width(8), kernel_size=(3, 3, 3), stride=(1, 1, 1))
    """

    _convolve = staticmethod(F.conv_transpose3d)
