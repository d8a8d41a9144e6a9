"""Variable batch norms: each channel's statistics are those of the samples that keep it.

In training these are, with an int, the whole batch, and under a width vector the wide enough ones.
Evaluated, a norm uses its running statistics: those of all widths together, which `recalibrate`
measures again for the width that one takes home, as slimmable networks do (Yu & Huang 2019, arXiv
1903.05134).

A single value has no variance. Where training leaves one to a channel of a variable axis, in a run
of one sample or as the only sample wide enough, the channel is normalised by its running statistics
and leaves them alone. Torch's norms, and a variable one without running statistics, refuse a batch
of one value.

The arguments are those of the torch layer, with ``num_features`` an int or a `Width`.

Shape:
    ``(batch, channels, *size)``, cut to the channels that are kept; whole under a width vector.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_tensor
from vsnn_lab.layers.base import is_masked
from vsnn_lab.layers.corners import Axis, first_units, write_units
from vsnn_lab.layers.norm import Norm, moments, normalise
from vsnn_lab.widths import (
    VariableSize,
    Width,
    check_axis,
    full_size,
    is_whole,
    keep_prefix,
    mask_like,
    spread,
)


class BatchNorm(Norm, nn.modules.batchnorm._BatchNorm):
    """What batch norms of any dimension share."""

    unit_dim = 1

    def __init__(self, num_features: Axis, *args: Any, **options: Any) -> None:
        axis = check_axis("num_features", num_features)
        super().__init__(full_size(axis), *args, **options)
        self.set_axis(axis)

    @property
    def num_features(self) -> int:
        """Channels at full width."""
        size: int = vars(self)["num_features"]
        return VariableSize(size) if isinstance(self.axis, Width) else size

    @num_features.setter
    def num_features(self, size: int) -> None:
        vars(self)["num_features"] = size

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
        self._check_input_dim(check_tensor("input", input))
        from_batch = self.training or self.running_mean is None
        variable = isinstance(self.axis, Width) and self._tracks()
        # One value for each channel has no statistics. By an `if`: of sizes that vary in a compiled
        # graph a comparison is no bool, and torch asks for one.
        if from_batch and variable and input.numel() <= input.shape[1]:
            from_batch = False
        share = self._momentum_of_batch() if from_batch else 0.0
        if from_batch and is_masked(self.axis):
            # Where another knob is at an int, units beyond it are not there.
            x = input if is_whole(self.axis) else keep_prefix(input, self.axis, 1)
            return self._normalise_masked(x, self.axis, share)
        x = keep_prefix(input, self.axis, 1)
        track = not self.training or self.track_running_stats
        mean, variance = self.statistics() if track else (None, None)
        if mean is not None and variance is not None and mean.dim() > 1:
            if len(mean) != len(x):
                raise ValueError(
                    f"input must have one row for each of the {len(mean)} widths, got shape "
                    f"{tuple(x.shape)}"
                )
            mean, variance = spread(mean, x, 1), spread(variance, x, 1)
            return normalise(x, mean, variance, self.eps, *self.first_parameters(), 1).to(x.dtype)
        y = F.batch_norm(x, mean, variance, *self.first_parameters(), from_batch, share, self.eps)
        if from_batch:
            write_units(self.running_mean, mean, self.axis)
            write_units(self.running_var, variance, self.axis)
        return y

    def statistics(self) -> tuple[Tensor | None, Tensor | None]:
        """Return running mean and variance of the units computed now."""
        return first_units(self.running_mean, self.axis), first_units(self.running_var, self.axis)

    def _tracks(self) -> bool:
        """Whether a batch moves running statistics."""
        return self.training and self.track_running_stats and self.running_mean is not None

    def _momentum_of_batch(self) -> float:
        """Count the batch, and return its weight in the running statistics, as torch does."""
        counts = self.training and self.track_running_stats
        if counts and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                return 1.0 / float(self.num_batches_tracked)
        return 0.0 if self.momentum is None else self.momentum

    def _normalise_masked(self, x: Tensor, axis: Width, share: float) -> Tensor:
        dims = [dim for dim in range(x.dim()) if dim != 1]
        mean, variance, count = moments(x, mask_like(x, axis, 1), dims)
        if self._tracks():
            mean, variance = self._track(mean, variance, count, share)
        return normalise(x, mean, variance, self.eps, *self.first_parameters(), 1).to(x.dtype)

    def _track(
        self, mean: Tensor, variance: Tensor, count: Tensor, share: float
    ) -> tuple[Tensor, Tensor]:
        """Move the running statistics of channels that several values are kept of.

        Returns:
            The mean and variance to normalise by: of other channels, the running ones.
        """
        several, used = count > 1, []
        unbiased = variance * count / (count - 1).clamp(min=1)
        pairs = (self.running_mean, mean, mean), (self.running_var, variance, unbiased)
        for whole, found, value in pairs:
            running = first_units(whole, self.axis)
            assert running is not None
            wide = running.to(torch.promote_types(running.dtype, found.dtype)).view(count.shape)
            used.append(torch.where(several, found, wide))
            with torch.no_grad():
                moved = torch.where(several, wide.lerp(value.to(wide), share), wide)
                running.copy_(moved.flatten())
            write_units(whole, running, self.axis)
        return used[0], used[1]


class VariableBatchNorm1d(BatchNorm, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over a variable axis, as this module describes.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> norm = VariableBatchNorm1d(Width(8))
        >>> with at_width(norm, 3):
        ...     norm(torch.ones(2, 8, 5)).shape
        torch.Size([2, 3, 5])
    """


class VariableBatchNorm2d(BatchNorm, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over a variable axis, as this module describes.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> norm = VariableBatchNorm2d(Width(8))
        >>> with at_width(norm, 3):
        ...     norm(torch.ones(2, 8, 5, 5)).shape
        torch.Size([2, 3, 5, 5])
    """


class VariableBatchNorm3d(BatchNorm, nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` over a variable axis, as this module describes.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> norm = VariableBatchNorm3d(Width(8))
        >>> with at_width(norm, 3):
        ...     norm(torch.ones(2, 8, 5, 5, 5)).shape
        torch.Size([2, 3, 5, 5, 5])
    """
