"""A linear layer with a scale and a shift for each width."""

import math

import torch
from torch import Tensor, nn

from vsnn_lab.layers.base import Axis, first_units, kept_now
from vsnn_lab.layers.linear import VariableLinear
from vsnn_lab.widths import WidthControl, kept_size

# Scales and shifts move this much faster than weights, whose rate an optimizer is given: each of
# them is trained by the widths around its knot alone. Chosen on validation images of
# Fashion-MNIST among 1, 3 and 10, for autoencoders.
_PACE = 3.0


class ConditionedLinear(VariableLinear):
    """A variable linear layer whose outputs are scaled and shifted as the width asks for.

    A width-conditioned affine: what a unit should say depends on how many others speak with it. The
    scale and the shift are kept at a few widths, the knots 1, 2, 4, ... and the last, and
    interpolated over log width between them. Extracted, they are folded into weight and bias: the
    submodel is an ordinary linear layer, with no parameter more.

    Args:
        in_features: Input axis: an int, or a `Width`.
        out_features: Output axis: an int, or a `Width`.
        control: The knob whose position is the condition.

    Shape:
        As of `VariableLinear`. ``scale`` and ``shift`` have shape (knots, out_features) and are
        zero at first, which changes nothing.

    References:
        Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning Layer",
        arXiv 1709.07871, for layers conditioned by scale and shift.

    Example:
        >>> from vsnn_lab import Width, extract
        >>> code = Width(32)
        >>> layer = ConditionedLinear(code, 256, code.control)
        >>> layer.scale.shape
        torch.Size([6, 256])
        >>> extract(layer, 5)
        Linear(in_features=5, out_features=256, bias=True)
    """

    own_attributes = ("in_axis", "out_axis", "control", "scale", "shift", "mix")

    def __init__(
        self, in_features: Axis, out_features: Axis, control: WidthControl, device=None, dtype=None
    ) -> None:
        if not isinstance(control, WidthControl):
            raise TypeError(f"control must be a WidthControl, got {control!r}")
        super().__init__(in_features, out_features, True, device, dtype)
        self.control = control
        mix = _interpolation(control.steps).to(self.weight)
        self.register_buffer("mix", mix, persistent=False)
        for name in ("scale", "shift"):
            zeros = self.weight.new_zeros(mix.shape[1], self.out_features)
            self.register_parameter(name, nn.Parameter(zeros))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer at the width its knobs stand at."""
        scale, shift = (first_units(part, self.out_axis, -1) for part in self._affine())
        y = super().forward(x)
        if scale.dim() > 1:  # a width for each sample; what lies between batch and units is alike
            shape = (len(y), *[1] * (y.dim() - 2), kept_now(self.out_axis))
            scale, shift = scale.view(shape), shift.view(shape)
        return torch.addcmul(shift, y, scale)

    def _affine(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift at the knob's position, one row a sample under a width vector."""
        position = self.control.position
        weights = self.mix[position - 1]
        return 1 + _PACE * (weights @ self.scale), _PACE * (weights @ self.shift)

    def cut(self, positions: dict[WidthControl, int]) -> dict[str, Tensor]:
        """Return weight and bias with the affine of a width folded in."""
        parts = super().cut(positions)
        weights, kept = self.mix[positions[self.control] - 1], kept_size(self.out_axis, positions)
        scale = 1 + _PACE * (weights @ self.scale.detach()[:, :kept])
        shift = _PACE * (weights @ self.shift.detach()[:, :kept])
        folded = parts["weight"] * scale.unsqueeze(1), torch.addcmul(shift, parts["bias"], scale)
        return parts | dict(zip(("weight", "bias"), folded, strict=True))

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes of each parameter; of scale and shift a submodel keeps no knot."""
        return super().parameter_axes | {"scale": (0,), "shift": (0,)}

    @property
    def buffer_axes(self) -> dict[str, tuple[Axis, ...]]:
        """Nor any of how they are mixed."""
        return {"mix": (0,)}


def _interpolation(steps: int) -> Tensor:
    """Return how much each knot counts at each position, shape (steps, knots)."""
    knots = sorted({2**power for power in range(steps.bit_length())} | {steps})
    rows = torch.zeros(steps, len(knots), dtype=torch.float64)
    for position in range(1, steps + 1):
        after = next(index for index, knot in enumerate(knots) if knot >= position)
        rows[position - 1, after] = 1
        if knots[after] > position:
            low, high = knots[after - 1], knots[after]
            share = math.log(position / low) / math.log(high / low)
            rows[position - 1, after - 1 : after + 1] = torch.tensor([1 - share, share])
    return rows
