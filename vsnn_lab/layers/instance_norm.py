"""Variable instance norms: each channel of each sample is normalised by itself.

So a width changes nothing but which channels there are. With ``track_running_stats``, training
moves a channel's running statistics by the mean of those of the samples that keep it: with an int
the whole batch, under a width vector the wide enough ones. The arguments are those of the torch
layer, with ``num_features`` an int or a `Width`.

Shape:
    ``([batch], channels, *size)``, cut to the channels that are kept; whole under a width vector.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_tensor
from vsnn_lab.layers.base import is_masked
from vsnn_lab.layers.corners import Axis, first_units, write_units
from vsnn_lab.layers.norm import Norm, sum_dtype
from vsnn_lab.widths import Width, check_axis, full_size, keep_prefix, mask_like


class _InstanceNorm(Norm, nn.modules.instancenorm._InstanceNorm):
    """What instance norms of any dimension share."""

    unit_dim = 1

    def __init__(self, num_features: Axis, *args: Any, **options: Any) -> None:
        axis = check_axis("num_features", num_features)
        super().__init__(full_size(axis), *args, **options)
        self.set_axis(axis)

    @property
    def buffer_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each buffer."""
        return dict.fromkeys(("running_mean", "running_var"), (self.axis,))

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        return {"num_features": self.axis}

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the channels kept at the width the knob stands at."""
        if not isinstance(self.axis, Width):
            return super().forward(input)
        self._check_input_dim(check_tensor("input", input))
        alone = input.dim() == self._get_no_batch_dim()
        x = keep_prefix(input, self.axis, 0 if alone else 1)
        y = self.apply_plain(x.unsqueeze(0) if alone else x)
        return y.squeeze(0) if alone else y

    def apply_plain(self, x: Tensor) -> Tensor:
        """Normalise units that all samples keep, by torch's own kernel."""
        share = 0.0 if self.momentum is None else self.momentum
        parameters, from_input = self.first_parameters(), True
        if self.training and self.running_mean is not None and is_masked(self.axis):
            self._track(x, share)
            return F.instance_norm(x, None, None, *parameters, from_input, share, self.eps)
        from_input = self.training or not self.track_running_stats
        mean = first_units(self.running_mean, self.axis)
        variance = first_units(self.running_var, self.axis)
        y = F.instance_norm(x, mean, variance, *parameters, from_input, share, self.eps)
        if from_input:
            write_units(self.running_mean, mean, self.axis)
            write_units(self.running_var, variance, self.axis)
        return y

    @torch.no_grad()
    def _track(self, x: Tensor, share: float) -> None:
        """Move the running statistics of channels by those of the samples that keep them."""
        assert isinstance(self.axis, Width)
        flat = x.flatten(2).to(sum_dtype(x))
        kept = mask_like(flat, self.axis, 1).squeeze(2)
        count = kept.sum(0)
        pairs = (self.running_mean, flat.mean(2)), (self.running_var, flat.var(2))
        for whole, found in pairs:
            running = first_units(whole, self.axis)
            assert running is not None
            mean = torch.where(kept, found, 0.0).sum(0) / count.clamp(min=1)
            moved = running.to(mean.dtype).lerp(mean, share)
            running.copy_(torch.where(count > 0, moved, running.to(mean.dtype)))
            write_units(whole, running, self.axis)


class VariableInstanceNorm1d(_InstanceNorm, nn.InstanceNorm1d):
    """`torch.nn.InstanceNorm1d` over a variable axis, as this module describes.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> norm = VariableInstanceNorm1d(Width(8))
        >>> with at_width(norm, 3):
        ...     norm(torch.ones(2, 8, 5)).shape
        torch.Size([2, 3, 5])
    """


class VariableInstanceNorm2d(_InstanceNorm, nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d` over a variable axis, as this module describes.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> norm = VariableInstanceNorm2d(Width(8))
        >>> with at_width(norm, 3):
        ...     norm(torch.ones(2, 8, 5, 5)).shape
        torch.Size([2, 3, 5, 5])
    """


class VariableInstanceNorm3d(_InstanceNorm, nn.InstanceNorm3d):
    """`torch.nn.InstanceNorm3d` over a variable axis, as this module describes.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> norm = VariableInstanceNorm3d(Width(8))
        >>> with at_width(norm, 3):
        ...     norm(torch.ones(2, 8, 5, 5, 5)).shape
        torch.Size([2, 3, 5, 5, 5])
    """
