"""A linear layer that knows its width: a scale, a shift and a small correction for each."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int, short_repr
from vsnn_lab.layers.base import ask_for_forward
from vsnn_lab.layers.corners import Axis, Device, first_corner, first_units
from vsnn_lab.layers.linear import VariableLinear
from vsnn_lab.widths import WidthControl, check_prefix, geometric_widths, keep_prefix, kept_size

# Scales and shifts move this much faster than weights, whose rate an optimizer is given: each of
# them is trained by the widths around its knot alone. Chosen on validation images of
# Fashion-MNIST among 1, 3, 5 and 10, for autoencoders.
_PACE = 5.0


class ConditionedLinear(VariableLinear):
    """A variable linear layer whose outputs are corrected as the width asks for.

    What a unit should say depends on how many others speak with it. So each width has a scale and
    a shift of the outputs, and adds a matrix of low rank to the weight. They are kept at a few
    widths, the knots 1, 2, 4, ... and the last, and interpolated over log width between them.
    Extracted, all of it is folded into weight and bias: the submodel is an ordinary linear layer,
    with no parameter more.

    Args:
        in_features: Input axis: an int, or a `Width`.
        out_features: Output axis: an int, or a `Width`.
        control: The knob whose position is the condition.
        rank: Rank of each knot's matrix; 0 leaves scale and shift alone.

    Shape:
        As of `VariableLinear`. ``scale`` and ``shift`` have shape (knots, out_features), ``down``
        (knots * rank, in_features) and ``up`` (out_features, knots * rank); all but ``down`` are
        zero at first, so that nothing is changed.

    References:
        Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning Layer",
        arXiv 1709.07871, for scale and shift; Hu et al. 2021, "LoRA", arXiv 2106.09685, for
        matrices of low rank that fold into a weight.

    Example:
        >>> from vsnn_lab import Width, extract
        >>> code = Width(32)
        >>> layer = ConditionedLinear(code, 256, code.control)
        >>> layer.scale.shape
        torch.Size([6, 256])
        >>> extract(layer, 5)
        Linear(in_features=5, out_features=256, bias=True)
    """

    own_attributes = (
        *("in_axis", "out_axis", "control", "rank"),
        *("scale", "shift", "down", "up", "mix"),
    )

    takes_prefixes = False

    mix: Tensor
    scale: nn.Parameter
    shift: nn.Parameter

    def __init__(
        self,
        in_features: Axis,
        out_features: Axis,
        control: WidthControl,
        rank: int = 16,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(control, WidthControl):
            raise TypeError(f"control must be a WidthControl, got {short_repr(control)}")
        rank = check_int("rank", rank, 0)
        super().__init__(in_features, out_features, True, device, dtype)
        for name in ("in_axis", "out_axis"):
            check_prefix(name, getattr(self, name))
        self.control, self.rank = control, rank
        mix = _interpolation_weights(control.steps).to(self.weight)
        self.register_buffer("mix", mix, persistent=False)
        knots, columns = mix.shape[1], mix.shape[1] * rank
        for name in ("scale", "shift"):
            zeros = self.weight.new_zeros(knots, self.out_features)
            self.register_parameter(name, nn.Parameter(zeros))
        down = self.weight.new_empty(columns, self.in_features)
        self.down = nn.Parameter(nn.init.normal_(down, std=self.in_features**-0.5))
        self.up = nn.Parameter(self.weight.new_zeros(self.out_features, columns))
        self.register_forward_pre_hook(ask_for_forward)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer at the width its knobs stand at."""
        x, position = keep_prefix(input, self.in_axis), self.control.position
        if isinstance(position, Tensor):
            position = position.to(self.mix.device)
        mix = self.mix[position - 1]
        if mix.dim() > 1:  # a width for each sample; what lies between batch and units is alike
            mix = mix.view(len(mix), *[1] * (x.dim() - 2), -1)
        weight = first_corner(self.weight, self.out_axis, self.in_axis)
        y = F.linear(x, weight, first_units(self.bias, self.out_axis))
        if self.rank:
            y = y + self._low_rank_term(x, mix)
        scale, shift = (
            mix @ first_units(part, self.out_axis, 1) for part in (self.scale, self.shift)
        )
        return torch.addcmul(_PACE * shift, y, 1 + _PACE * scale)

    def widest_alike(self, position: int) -> int:
        """Return the position itself: every width has a correction of its own."""
        return position

    def _low_rank_term(self, x: Tensor, mix: Tensor) -> Tensor:
        """Return what the matrices of low rank add, those of knots that count nothing left out."""
        down, up = first_units(self.down, self.in_axis, 1), first_units(self.up, self.out_axis)
        position = self.control.position
        if isinstance(position, int):
            first, last = _knots_around(position)
            columns = slice(first * self.rank, last * self.rank)
            mix, down, up = mix[first:last], down[columns], up[:, columns]
        return F.linear(F.linear(x, down) * mix.repeat_interleave(self.rank, -1), up)

    def cut(self, positions: Mapping[WidthControl, int]) -> dict[str, Tensor]:
        """Return weight and bias with all that belongs to a width folded in."""
        parts = super().cut(positions)
        rows, columns = (kept_size(axis, positions) for axis in (self.out_axis, self.in_axis))
        mix = self.mix[positions[self.control] - 1]
        up, down = self.up.detach()[:rows], self.down.detach()[:, :columns]
        weight = parts["weight"] + (up * mix.repeat_interleave(self.rank)) @ down
        scale = 1 + _PACE * (mix @ self.scale.detach()[:, :rows])
        shift = _PACE * (mix @ self.shift.detach()[:, :rows])
        folded = weight * scale.unsqueeze(1), torch.addcmul(shift, parts["bias"], scale)
        return parts | dict(zip(("weight", "bias"), folded, strict=True))

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes of each parameter; of what belongs to knots a submodel keeps nothing."""
        return super().parameter_axes | dict.fromkeys(("scale", "shift", "down", "up"), (0,))

    @property
    def buffer_axes(self) -> dict[str, tuple[Axis, ...]]:
        """Nor any of how they are mixed."""
        return {"mix": (0,)}


def _knots_around(position: int) -> tuple[int, int]:
    """Return the first knot that counts at a position, and the one after the last that does."""
    first = position.bit_length() - 1
    return first, first + (1 if position == 2**first else 2)


def _interpolation_weights(steps: int) -> Tensor:
    """Return how much each knot counts at each position, shape (steps, knots)."""
    knots = geometric_widths(steps)
    rows = torch.zeros(steps, len(knots), dtype=torch.float64)
    for position in range(1, steps + 1):
        after = next(index for index, knot in enumerate(knots) if knot >= position)
        rows[position - 1, after] = 1
        if knots[after] > position:
            low, high = knots[after - 1], knots[after]
            share = math.log(position / low) / math.log(high / low)
            rows[position - 1, after - 1 : after + 1] = torch.tensor([1 - share, share])
    return rows
