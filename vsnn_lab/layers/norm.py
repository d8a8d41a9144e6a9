"""Variable norms: each sees only the units that are kept.

The arguments are those of the torch layer, with the size an int or a `Width`.

A batch norm in training takes each channel's statistics from the samples that keep it: with an int
from the whole batch, under a width vector from its wide enough samples. Evaluated, it uses running
statistics; they are those of all widths together, and want to be measured again for the width that
one takes home, as slimmable networks do (Yu & Huang 2019, arXiv 1903.05134).

Shape:
    Batch and group norms (batch, channels, *size), the others (batch, ..., units), cut to the units
    that are kept; whole under a width vector.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab.layers.base import Axis, VariableLayer, first_units, is_masked
from vsnn_lab.masks import keep_prefix, mask_like
from vsnn_lab.widths import Width, check_axis, full_size


class _Norm(VariableLayer):
    """A norm over one axis, which it leaves as it is."""

    own_attributes: ClassVar[tuple[str, ...]] = ("axis",)
    axis: Axis

    @property
    def in_axis(self) -> Axis:
        """The axis of the input."""
        return self.axis

    @property
    def out_axis(self) -> Axis:
        """The axis of the output: the same."""
        return self.axis

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        return dict.fromkeys(("weight", "bias"), (self.axis,))


def _moments(x: Tensor, kept: Tensor, dims: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and count of the kept elements.

    Args:
        x: Any activations.
        kept: Boolean mask that broadcasts to ``x``.
        dims: Dimensions to average over; they stay, with size 1.
    """
    kept = kept.expand_as(x)
    count = kept.sum(dims, keepdim=True)
    # A channel that no sample keeps has nothing to average; its output is never consumed.
    most = count.clamp(min=1)
    mean = torch.where(kept, x, 0.0).sum(dims, keepdim=True) / most
    squares = torch.where(kept, x - mean, 0.0).square()
    return mean, squares.sum(dims, keepdim=True) / most, count


class _BatchNorm(_Norm):
    """What batch norms of any dimension share."""

    unit_dim = 1

    def __init__(self, num_features: Axis, *args, **options) -> None:
        axis = check_axis("num_features", num_features)
        super().__init__(full_size(axis), *args, **options)
        self.axis = axis

    @property
    def buffer_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each buffer."""
        return dict.fromkeys(("running_mean", "running_var"), (self.axis,))

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        return {"num_features": self.axis}

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the channels kept at the width the knob stands at."""
        self._check_input_dim(x)
        from_batch = self.training or self.running_mean is None
        share = self._share_of_this_batch()
        if from_batch and is_masked(self.axis):
            return self._masked(x, share)
        x = keep_prefix(x, self.axis, 1)
        track = not self.training or self.track_running_stats
        return F.batch_norm(
            x,
            first_units(self.running_mean, self.axis) if track else None,
            first_units(self.running_var, self.axis) if track else None,
            first_units(self.weight, self.axis),
            first_units(self.bias, self.axis),
            from_batch,
            share,
            self.eps,
        )

    def _share_of_this_batch(self) -> float:
        """Count the batch, and return its weight in the running statistics, as torch does."""
        counts = self.training and self.track_running_stats
        if counts and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                return 1.0 / float(self.num_batches_tracked)
        return 0.0 if self.momentum is None else self.momentum

    def _masked(self, x: Tensor, share: float) -> Tensor:
        dims = [dim for dim in range(x.dim()) if dim != 1]
        mean, variance, count = _moments(x, mask_like(x, self.axis, 1), dims)
        if self.training and self.track_running_stats:
            self._track(mean.flatten(), variance.flatten(), count.flatten(), share)
        return _scaled(x, mean, variance, self.eps, self.weight, self.bias, 1)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor, share: float) -> None:
        """Move the running statistics of the channels that some sample keeps."""
        unbiased = variance * count / (count - 1).clamp(min=1)
        for running, value in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.copy_(torch.where(count > 0, running.lerp(value.to(running), share), running))


def _scaled(
    x: Tensor,
    mean: Tensor | float,
    variance: Tensor,
    eps: float,
    weight: Tensor | None,
    bias: Tensor | None,
    dim: int,
) -> Tensor:
    """Normalise, then scale and shift along ``dim``."""
    y = (x - mean) * torch.rsqrt(variance + eps)
    shape = [1] * x.dim()
    shape[dim] = -1
    if weight is not None:
        y = y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


class VariableBatchNorm1d(_BatchNorm, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over a variable axis, as this module describes."""


class VariableBatchNorm2d(_BatchNorm, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over a variable axis, as this module describes."""


class VariableBatchNorm3d(_BatchNorm, nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` over a variable axis, as this module describes."""


class _LastAxisNorm(_Norm):
    def __init__(self, normalized_shape: Axis | tuple[Axis], *args, **options) -> None:
        shape = normalized_shape
        if isinstance(shape, tuple | list):
            if len(shape) != 1:
                raise ValueError(
                    f"normalized_shape must be the last axis alone, got {shape!r}; a prefix of "
                    "several dimensions is not defined"
                )
            (shape,) = shape
        axis = check_axis("normalized_shape", shape)
        super().__init__(full_size(axis), *args, **options)
        self.axis = axis

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

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the units kept at the width the knob stands at."""
        x = keep_prefix(x, self.axis)
        if is_masked(self.axis):
            mean, variance, _ = _moments(x, mask_like(x, self.axis), [-1])
            return _scaled(x, mean, variance, self.eps, self.weight, self.bias, -1)
        weight, bias = (first_units(part, self.axis) for part in (self.weight, self.bias))
        return F.layer_norm(x, x.shape[-1:], weight, bias, self.eps)


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
        x = keep_prefix(x, self.axis)
        if is_masked(self.axis):
            kept = mask_like(x, self.axis).sum(-1, keepdim=True)
            square = x.square().sum(-1, keepdim=True) / kept
            eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
            return _scaled(x, 0.0, square, eps, self.weight, None, -1)
        return F.rms_norm(x, x.shape[-1:], first_units(self.weight, self.axis), self.eps)


class VariableGroupNorm(_Norm, nn.GroupNorm):
    """`torch.nn.GroupNorm` over channels of which a prefix is kept.

    Groups can be cut only whole: either the knob's steps divide them, or there is one group, which
    then holds the channels that are kept.

    Args:
        num_groups: Groups at full width.
        num_channels: Channels: an int, or a `Width`. The other arguments are torch's.

    Shape:
        (batch, num_channels, *size), cut to the channels that are kept; whole under a width vector.

    Raises:
        ValueError: If groups cannot be cut whole.
    """

    unit_dim = 1

    def __init__(self, num_groups: int, num_channels: Axis, *args, **options) -> None:
        axis = check_axis("num_channels", num_channels)
        super().__init__(num_groups, full_size(axis), *args, **options)
        if isinstance(axis, Width) and num_groups != 1 and num_groups % axis.control.steps:
            raise ValueError(
                f"num_groups must be 1 or a multiple of the knob's {axis.control.steps} steps, so "
                f"that groups are cut whole, got {num_groups}"
            )
        self.axis = axis

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        # The copy's `num_channels` is still the full number.
        return {"num_groups": self._groups(self.axis), "num_channels": self.axis}

    def _groups(self, channels: int) -> int:
        return 1 if self.num_groups == 1 else self.num_groups * channels // self.num_channels

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the groups kept at the width the knob stands at."""
        x = keep_prefix(x, self.axis, 1)
        if self.num_groups == 1 and is_masked(self.axis):
            dims = list(range(1, x.dim()))
            mean, variance, _ = _moments(x, mask_like(x, self.axis, 1), dims)
            return _scaled(x, mean, variance, self.eps, self.weight, self.bias, 1)
        weight, bias = (first_units(part, self.axis) for part in (self.weight, self.bias))
        return F.group_norm(x, self._groups(x.shape[1]), weight, bias, self.eps)
