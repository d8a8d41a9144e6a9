"""Variable norms: each sees only the units that are kept.

The arguments are those of the torch layer, with the size an int or a `Width`.

Shape:
    Group norms ``(batch, channels, *size)``, the others ``(batch, ..., units)``, cut to the units
    that are kept; whole under a width vector.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import short_repr
from vsnn_lab.layers.base import VariableLayer, is_masked
from vsnn_lab.layers.checkpointing import refuse_checkpointing
from vsnn_lab.layers.corners import Axis, first_units
from vsnn_lab.layers.groups import check_whole_groups
from vsnn_lab.widths import check_axis, full_size, keep_prefix, mask_like


class Norm(VariableLayer):
    """A norm over one axis, which it leaves as it is."""

    own_attributes: ClassVar[tuple[str, ...]] = ("axis", "in_axis", "out_axis")
    axis: Axis

    def set_axis(self, axis: Axis) -> None:
        """Let a norm span an axis, which is that of its input and of its output."""
        self.axis = self.in_axis = self.out_axis = axis

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        return dict.fromkeys(("weight", "bias"), (self.axis,))

    def first_parameters(self) -> tuple[Tensor | None, Tensor | None]:
        """Return weight and bias of the units computed now."""
        refuse_checkpointing(self.axis)
        # Both are those of the torch norm that a subclass also derives from.
        parts: tuple[Any, Any] = self.weight, self.bias
        return first_units(parts[0], self.axis), first_units(parts[1], self.axis)

    def apply_plain(self, x: Tensor) -> Tensor:
        """Normalise units that all samples keep, by torch's own kernel."""
        raise NotImplementedError

    def cast_as_plain(self, y: Tensor, x: Tensor) -> Tensor:
        """Return masked outputs in the dtype that torch's kernel gives, also under autocast."""
        device = x.device.type
        casts = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        if y.dtype == x.dtype and not casts:
            return y
        with torch.no_grad():
            dtype = self.apply_plain(x[:1]).dtype
        return y.to(dtype)


def sum_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype that torch's kernels sum in: float32 for halves, else that of ``x``."""
    return torch.promote_types(x.dtype, torch.float32)


def moments(x: Tensor, kept: Tensor, dims: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and count of the kept elements, the first two in `sum_dtype`.

    Args:
        x: Any activations.
        kept: Boolean mask that broadcasts to ``x``.
        dims: Dimensions to average over; they stay, with size 1.
    """
    kept, x = kept.expand_as(x), x.to(sum_dtype(x))
    count = kept.sum(dims, keepdim=True)
    # A channel that no sample keeps has nothing to average; its output is never consumed.
    most = count.clamp(min=1)
    mean = torch.where(kept, x, 0.0).sum(dims, keepdim=True) / most
    squares = torch.where(kept, x - mean, 0.0).square()
    return mean, squares.sum(dims, keepdim=True) / most, count


def normalise(
    x: Tensor,
    mean: Tensor | float,
    variance: Tensor,
    eps: float,
    weight: Tensor | None,
    bias: Tensor | None,
    dim: int,
) -> Tensor:
    """Normalise, then scale and shift along ``dim``, in the dtype of the variance."""
    y = (x.to(variance.dtype) - mean) * torch.rsqrt(variance + eps)
    shape = [1] * x.dim()
    shape[dim] = -1
    if weight is not None:
        y = y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


class _LastAxisNorm(Norm):
    def __init__(self, normalized_shape: Axis | tuple[Axis], *args: Any, **options: Any) -> None:
        shape = normalized_shape
        if isinstance(shape, tuple | list):
            if len(shape) != 1:
                raise ValueError(
                    f"normalized_shape must be the last axis alone, got {short_repr(shape)}; a "
                    "prefix of several dimensions is not defined"
                )
            (shape,) = shape
        axis = check_axis("normalized_shape", shape)
        super().__init__(full_size(axis), *args, **options)
        self.set_axis(axis)

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        return {"normalized_shape": (self.axis,)}


class VariableLayerNorm(_LastAxisNorm, nn.LayerNorm):
    """`torch.nn.LayerNorm` over a last axis of which a prefix is kept.

    Args:
        normalized_shape: The last axis: an int, or a `Width`. The other arguments are torch's.

    Shape:
        (batch, ..., normalized_shape), cut to the units that are kept; whole under a width vector,
        where each sample's mean and variance are those of its own units.

    Raises:
        ValueError: If ``normalized_shape`` names several dimensions.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the units kept at the width the knob stands at."""
        x = keep_prefix(input, self.axis)
        if not is_masked(self.axis):
            return self.apply_plain(x)
        mean, variance, _ = moments(x, mask_like(x, self.axis), [-1])
        y = normalise(x, mean, variance, self.eps, *self.first_parameters(), -1)
        return self.cast_as_plain(y, x)

    def apply_plain(self, x: Tensor) -> Tensor:
        """Normalise units that all samples keep, by torch's own kernel."""
        return F.layer_norm(x, x.shape[-1:], *self.first_parameters(), self.eps)


class VariableRMSNorm(_LastAxisNorm, nn.RMSNorm):
    """`torch.nn.RMSNorm` over a last axis of which a prefix is kept.

    Args:
        normalized_shape: The last axis: an int, or a `Width`. The other arguments are torch's.

    Shape:
        As in `VariableLayerNorm`.

    Raises:
        ValueError: If ``normalized_shape`` names several dimensions.
    """

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        return {"weight": (self.axis,)}

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the units kept at the width the knob stands at."""
        refuse_checkpointing(self.axis)
        x = keep_prefix(x, self.axis)
        if not is_masked(self.axis):
            return self.apply_plain(x)
        kept, dtype = mask_like(x, self.axis).sum(-1, keepdim=True), sum_dtype(x)
        square = x.to(dtype).square().sum(-1, keepdim=True) / kept
        eps = torch.finfo(dtype).eps if self.eps is None else self.eps
        y = normalise(x, 0.0, square, eps, *self.first_parameters(), -1)
        return self.cast_as_plain(y, x)

    def first_parameters(self) -> tuple[Tensor | None, Tensor | None]:
        """Return the weight of the units computed now; there is no bias."""
        return first_units(self.weight, self.axis), None

    def apply_plain(self, x: Tensor) -> Tensor:
        """Normalise units that all samples keep, by torch's own kernel."""
        return F.rms_norm(x, x.shape[-1:], self.first_parameters()[0], self.eps)


class VariableGroupNorm(Norm, nn.GroupNorm):
    """`torch.nn.GroupNorm` over channels of which a prefix is kept.

    Groups can be cut only whole: the axis keeps whole ones at every position, or there is one
    group, which then holds the channels that are kept.

    Args:
        num_groups: Groups at full width.
        num_channels: Channels: an int, or a `Width`. The other arguments are torch's.

    Shape:
        ``(batch, num_channels, *size)``, cut to the channels that are kept; whole under a width
        vector.

    Raises:
        ValueError: If groups cannot be cut whole.
    """

    unit_dim = 1

    def __init__(self, num_groups: int, num_channels: Axis, *args: Any, **options: Any) -> None:
        axis = check_axis("num_channels", num_channels)
        super().__init__(num_groups, full_size(axis), *args, **options)
        check_whole_groups("num_groups", self.num_groups, num_channels=axis)
        self.set_axis(axis)

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        # The copy's `num_channels` is still the full number.
        return {"num_groups": self._groups(self.axis), "num_channels": self.axis}

    def _groups(self, channels: Axis) -> int:
        """Return the groups among the first channels; on a copy to be cut the axis is an int."""
        whole = self.num_groups == 1
        return 1 if whole else self.num_groups * full_size(channels) // self.num_channels

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the groups kept at the width the knob stands at."""
        x = keep_prefix(input, self.axis, 1)
        if self.num_groups > 1 or not is_masked(self.axis):
            return self.apply_plain(x)
        mean, variance, _ = moments(x, mask_like(x, self.axis, 1), list(range(1, x.dim())))
        y = normalise(x, mean, variance, self.eps, *self.first_parameters(), 1)
        return self.cast_as_plain(y, x)

    def apply_plain(self, x: Tensor) -> Tensor:
        """Normalise units that all samples keep, by torch's own kernel."""
        return F.group_norm(x, self._groups(x.shape[1]), *self.first_parameters(), self.eps)
