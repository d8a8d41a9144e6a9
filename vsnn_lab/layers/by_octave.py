"""Layers with weights of their own for each octave of widths; extracted, ordinary ones.

Widths of one octave, 5 to 8 say, are alike; 8 and 64 are not. So each octave of knob positions, 1,
2, 3..4, 5..8 and so on, corrects what all widths share. Up to a quarter of the knob, or half of a
short one, it adds weights and a bias of its own, nested within the octave as a variable layer's
are; they are few, since narrow layers are small. Wider octaves have a scale and a shift of each
output. Full width is corrected by nothing: it is an ordinary layer. Cut out, a submodel has all of
it folded into weight and bias, and no parameter more.

Scale and shift are those of Perez et al. 2018, "FiLM", arXiv 1709.07871; Yu et al. 2019, "Slimmable
Neural Networks", arXiv 1812.08928, keep batch norms for each width. Weights for each octave are
ours.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_fraction, short_repr
from vsnn_lab.layers.base import WeightedLayer
from vsnn_lab.layers.conv import VariableConv2d
from vsnn_lab.layers.corners import Axis, Device
from vsnn_lab.layers.linear import VariableLinear
from vsnn_lab.layers.octaves import octave_of, octave_tops, octaves_with_weights
from vsnn_lab.layers.side_by_side import block_indices, kept_units
from vsnn_lab.widths import (
    SeveralPositions,
    Width,
    WidthControl,
    check_prefix,
    keep_prefix,
    kept_size,
)

# Scales and shifts move this much faster than weights, as in `ConditionedLinear`.
_PACE = 5.0
# And own weights this much faster than those that all widths share: narrow networks learn best at
# up to three times the rate that full width does.
_OWN_PACE = 3.0
_CORRECTIONS = ("own_weight", "own_bias", "scale", "shift")


class OctaveLayer(WeightedLayer):
    """What `OctaveLinear` and `OctaveConv2d` share.

    A subclass also derives from the variable layer whose weights it corrects, which has
    ``kept_parameters`` and ``compute``.
    """

    own_attributes = ("in_axis", "out_axis", "control", "octaves", *_CORRECTIONS)
    takes_prefixes = False

    control: WidthControl
    octaves: int
    own_weight: nn.Parameter
    own_bias: nn.Parameter
    scale: nn.Parameter
    shift: nn.Parameter

    def add_corrections(self, control: WidthControl, own_share: float | None = None) -> None:
        """Add the corrections, all zero at first, so that nothing is changed."""
        if not isinstance(control, WidthControl):
            raise TypeError(f"control must be a WidthControl, got {short_repr(control)}")
        for axis in (self.in_axis, self.out_axis):
            if isinstance(axis, Width) and axis.controls != [control]:
                raise ValueError(
                    f"control must be the knob of the layer's variable axes, got {control!r} and "
                    f"{axis!r}; Width(...).control is an axis's own"
                )
            check_prefix("a corrected layer's axis", axis)
        share = None if own_share is None else check_fraction("own_share", own_share)
        self.control, self.octaves = control, octaves_with_weights(control.steps, share)
        tops = octave_tops(control.steps)
        shapes = self._octave_shapes()
        weights, biases = sum(map(math.prod, shapes)), sum(shape[0] for shape in shapes)
        wide = (len(tops) - len(shapes), len(self.weight))
        for name, size in zip(_CORRECTIONS, ((weights,), (biases,), wide, wide), strict=True):
            self.register_parameter(name, nn.Parameter(self.weight.new_zeros(size)))

    def _octave_shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of each own weight, in the order in which ``own_weight`` holds them."""
        axes, kernel = (self.out_axis, self.in_axis), self.weight.shape[2:]
        return [
            (*(kept_size(axis, {self.control: top}) for axis in axes), *kernel)
            for top in octave_tops(self.control.steps)[: self.octaves]
        ]

    def _octave_parameters(self, octave: int) -> tuple[Tensor, Tensor]:
        """Return what an octave adds to weight and bias, at its widest."""
        shapes = self._octave_shapes()
        sizes = [math.prod(shape) for shape in shapes]
        start, rows = sum(sizes[:octave]), sum(shape[0] for shape in shapes[:octave])
        weight = self.own_weight.narrow(0, start, sizes[octave]).view(shapes[octave])
        return weight, self.own_bias.narrow(0, rows, shapes[octave][0])

    def _add_octave(self, weight: Tensor, bias: Tensor, octave: int) -> tuple[Tensor, Tensor]:
        """Add an octave's own to the first weights and biases that all widths share."""
        more, shift = self._octave_parameters(octave)
        out, fan_in = weight.shape[:2]
        # What all share is built on, not pulled at: narrow widths have weights to train.
        return (
            torch.add(weight.detach(), more[:out, :fan_in], alpha=_OWN_PACE),
            torch.add(bias.detach(), shift[:out], alpha=_OWN_PACE),
        )

    def kept_parameters(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias at the width the knobs stand at, what the octave adds included."""
        weight, bias = super().kept_parameters()
        assert bias is not None
        position = self.control.position
        if isinstance(position, int) and self._has_weights(position):
            return self._add_octave(weight, bias, octave_of(position))
        return weight, bias

    def _has_weights(self, position: int) -> bool:
        return position < self.control.steps and octave_of(position) < self.octaves

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer at the width its knobs stand at."""
        x, position = input, self.control.position
        if isinstance(position, Tensor):
            return self._correct_each_sample(x, super().forward(x), position.to(x.device))
        wide = octave_of(position) - self.octaves
        if position == self.control.steps or wide < 0:
            return super().forward(x)
        x, (weight, bias) = keep_prefix(x, self.in_axis, self.unit_dim), self.kept_parameters()
        # Whichever is less: the weights are scaled, or what they gave.
        if weight.numel() < x.numel():
            return self.compute(x, *self._fold_scale(weight, bias, wide))
        y = self.compute(x, weight, bias)
        scale, shift = (
            self._shape_like(part[wide, : len(bias)], y) for part in self._scale_and_shift()
        )
        return torch.addcmul(shift, y, scale).to(y.dtype)

    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Return what outputs are scaled and shifted by, in each wider octave."""
        return 1 + _PACE * self.scale, _PACE * self.shift

    def _fold_scale(self, weight: Tensor, bias: Tensor, wide: int) -> tuple[Tensor, Tensor]:
        """Fold the scale and the shift of a wider octave into first weights and biases."""
        scale, shift = (part[wide, : len(bias)] for part in self._scale_and_shift())
        return weight * scale.view(-1, *[1] * (weight.dim() - 1)), torch.addcmul(shift, bias, scale)

    def widest_alike(self, position: int) -> int | None:
        """Return the widest position of the octave, which shares one correction."""
        if position == self.control.steps:
            return None
        return octave_tops(self.control.steps)[octave_of(position)]

    def _correct_each_sample(self, x: Tensor, y: Tensor, positions: Tensor) -> Tensor:
        """Correct outputs whose samples have widths of their own."""
        tops = torch.tensor(octave_tops(self.control.steps), device=y.device)
        octave = torch.bucketize(positions, tops)
        x, shapes = keep_prefix(x, self.in_axis, self.unit_dim), self._octave_shapes()
        weights, biases = self.kept_parameters()
        for index, (out, fan_in, *_) in enumerate(shapes):
            rows = (octave == index).nonzero().flatten()
            if len(rows):
                weight, bias = self._add_octave(weights[:out, :fan_in], biases[:out], index)
                found = self.compute(x[rows].narrow(self.unit_dim, 0, fan_in), weight, bias)
                wider = found.new_zeros(len(rows), *y.shape[1:])
                wider.narrow(self.unit_dim, 0, out).copy_(found)
                y = y.index_copy(0, rows, wider)
        if not len(self.scale):
            return y
        wide = (octave - len(shapes)).clamp(0, len(self.scale) - 1)
        counts = (octave >= len(shapes)) & (positions < self.control.steps)
        scale, shift = (
            self._shape_like(torch.where(counts.unsqueeze(1), part[wide], neutral), y)
            for part, neutral in zip(self._scale_and_shift(), (1.0, 0.0), strict=True)
        )
        return torch.addcmul(shift, y, scale).to(y.dtype)

    def _shape_like(self, part: Tensor, y: Tensor) -> Tensor:
        """Shape units, or units for each sample, to act on an output."""
        *samples, units = part.shape
        between = y.dim() + self.unit_dim - len(samples)
        return part.view(*samples, *[1] * between, units, *[1] * (-1 - self.unit_dim))

    def folds(self, positions: Mapping[WidthControl, int]) -> bool:
        """Whether `cut` gives more than first units, as it does below full width."""
        narrow = positions[self.control] < self.control.steps
        return narrow or type(self).cut is not OctaveLayer.cut

    def cut(self, positions: Mapping[WidthControl, int]) -> dict[str, Tensor]:
        """Return weight and bias with all that belongs to a width folded in."""
        parts, position = super().cut(positions), positions[self.control]
        weight, bias = parts["weight"], parts["bias"]
        wide = octave_of(position) - self.octaves
        with torch.no_grad():
            if self._has_weights(position):
                weight, bias = self._add_octave(weight, bias, octave_of(position))
            elif position < self.control.steps:
                weight, bias = self._fold_scale(weight, bias, wide)
        return parts | {"weight": weight, "bias": bias}

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes of each parameter; of what belongs to octaves a submodel keeps nothing."""
        return super().parameter_axes | dict.fromkeys(_CORRECTIONS, (0,))


class OctaveLinear(OctaveLayer, VariableLinear):
    """A variable linear layer with weights of its own for each octave of widths.

    Args:
        in_features: Input axis: an int, or a `Width`.
        out_features: Output axis: an int, or a `Width`.
        control: The knob whose octaves have corrections.
        own_share: Up to which share of the knob octaves have weights of their own, by default a
            quarter, or half of a short one; with 1 narrow widths leave full width as it is.

    Shape:
        As of `VariableLinear`. ``own_weight`` and ``own_bias`` are vectors that hold those of all
        octaves that have some, one after the other; ``scale`` and ``shift`` have shape
        (wider octaves, out_features). All are zero at first, so that nothing is changed.

    Example:
        >>> from vsnn_lab import Width, extract
        >>> hidden = Width(256)
        >>> layer = OctaveLinear(784, hidden, hidden.control)
        >>> layer.own_bias.shape, layer.scale.shape  # 1 + 2 + 4 + ... + 64, and two wider octaves
        (torch.Size([127]), torch.Size([2, 256]))
        >>> extract(layer, 5)
        Linear(in_features=784, out_features=5, bias=True)
    """

    def __init__(
        self,
        in_features: Axis,
        out_features: Axis,
        control: WidthControl,
        device: Device = None,
        dtype: torch.dtype | None = None,
        own_share: float | None = None,
    ) -> None:
        super().__init__(in_features, out_features, True, device, dtype)
        self.add_corrections(control, own_share)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer at the width, or the several widths, its knob stands at."""
        if isinstance(self.control.setting.position, SeveralPositions):
            return self._side_by_side(input)
        return super().forward(input)

    def _side_by_side(self, x: Tensor) -> Tensor:
        in_axis = self.in_axis
        varies = isinstance(self.out_axis, Width), isinstance(in_axis, Width)
        if not any(varies):
            raise ValueError("the layers of a chain must vary, got one whose axes are both fixed")
        shapes = tuple(self._octave_shapes())
        at = block_indices(shapes, self.weight.shape, varies, x.device)
        with torch.no_grad():
            if isinstance(in_axis, Width):
                shared = self.weight.flatten().index_select(0, at.taken)
            else:
                shared = self.weight.index_select(0, at.rows).flatten()
            bias = self.bias.index_select(0, at.rows)
        weight = torch.add(shared, self.own_weight, alpha=_OWN_PACE)
        bias = torch.add(bias, self.own_bias, alpha=_OWN_PACE)
        if isinstance(in_axis, Width):
            # Each octave reads its own units alone: blocks along a diagonal, all else zero.
            weight = weight.new_zeros(at.whole.numel()).index_copy(0, at.placed, weight)
            # Of them, those that it keeps; there are fewer weights to mask than activations.
            kept = kept_units(in_axis, x.device)
            weight = torch.where(kept, weight.view(at.whole), 0.0)
        else:
            weight = F.pad(weight, (0, at.whole.numel() - len(weight))).view(at.whole)
        bias = F.pad(bias, (0, at.whole[0] - len(bias)))
        y = self.compute(x, weight, bias)
        return y if varies[0] else y.unflatten(-1, (len(shapes), -1))


class OctaveConv2d(OctaveLayer, VariableConv2d):
    """A variable convolution with weights of its own for each octave of widths.

    Args:
        in_channels: Input axis: an int, or a `Width`.
        out_channels: Output axis: an int, or a `Width`.
        kernel_size: As in torch.
        control: The knob whose octaves have corrections.
        options: Further arguments of ``torch.nn.Conv2d``, but for ``groups`` and ``bias``.

    Shape:
        As of `VariableConv2d`; the corrections as of `OctaveLinear`.

    Example:
        >>> from vsnn_lab import Width, extract
        >>> channels = Width(64)
        >>> extract(OctaveConv2d(1, channels, 3, channels.control, padding=1), 5)
        Conv2d(1, 5, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """

    def __init__(
        self,
        in_channels: Axis,
        out_channels: Axis,
        kernel_size: int | tuple[int, int],
        control: WidthControl,
        **options: Any,
    ) -> None:
        for name in ("groups", "bias"):
            if name in options:
                raise TypeError(f"{name} must be left out, got {short_repr(options[name])}")
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.add_corrections(control)
