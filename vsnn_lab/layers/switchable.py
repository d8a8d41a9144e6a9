"""Layers with weights of their own for narrow widths, which pass no gradient to full width.

Widths of one octave are alike, 5 to 8 say; 8 and 64 are not. So each level of narrow widths, an
octave, adds a weight and a bias of its own to what full width has, nested within
the level as a variable layer's are. What full width has gets no gradient there, and full width
uses nothing else: it stays what it is, to the bit, however narrow widths are trained. Cut out, a
submodel has all of it folded into weight and bias, and no parameter more.

Batch norms of their own for each width are those of Yu et al. 2019, "Slimmable Neural Networks",
arXiv 1812.08928, who call them switchable; weights for each octave are ours.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_fraction
from vsnn_lab.layers import batch_norm, conv, norm
from vsnn_lab.layers.base import VariableLayer, WeightAndBias, WeightedLayer, is_masked
from vsnn_lab.layers.corners import Axis
from vsnn_lab.layers.levels import FULL, fit_units, level_of, level_tops, levels_of
from vsnn_lab.layers.linear import VariableLinear
from vsnn_lab.widths import WidthControl, keep_prefix, kept_size, knobs_of, spread

_OWN = {"weight": "own_weight", "bias": "own_bias"}
_OWN_ATTRIBUTES = (*_OWN.values(), "own_share")


class SwitchableLayer(VariableLayer):
    """What layers with weights of their own for narrow widths share.

    A subclass also derives from the variable layer that it adds them to. ``own_weight`` and
    ``own_bias`` are vectors that hold those of all levels, one after the other, the widest first.
    """

    takes_prefixes = False

    own_share: float
    own_weight: nn.Parameter | None
    own_bias: nn.Parameter | None

    def add_own_parameters(self, own_share: float = 1.0) -> None:
        """Add weights for narrow widths, all zero at first, so that nothing is changed.

        Args:
            own_share: Up to which share of the knobs there are some; 1 means all narrow widths.
        """
        self.own_share = check_fraction("own_share", own_share)
        for name, own in _OWN.items():
            whole: Tensor | None = getattr(self, name, None)
            parameter = None
            if whole is not None:
                size = sum(map(math.prod, self._shapes(name).values()))
                parameter = nn.Parameter(whole.detach().new_zeros(size))
            self.register_parameter(own, parameter)

    @property
    def _controls(self) -> list[WidthControl]:
        return [each for each in knobs_of(self.in_axis, self.out_axis) if each.steps != 1]

    @property
    def levels(self) -> dict[int, dict[WidthControl, int]]:
        """The levels that have weights of their own, with the widest position of each knob."""
        return {
            level: tops
            for level, tops in enumerate(level_tops(self._controls))
            if all(top <= self.own_share * control.steps for control, top in tops.items())
        }

    def _shapes(self, name: str) -> dict[int, tuple[int, ...]]:
        """Return the shape of what each level has for a weight or bias."""
        axes, whole = super().parameter_axes[name], getattr(self, name)
        return {
            level: (*(_size(axis, tops) for axis in axes), *whole.shape[len(axes) :])
            for level, tops in self.levels.items()
        }

    def _add_own(
        self, name: str, shared: Tensor | None, level: int, positions: Mapping[WidthControl, int]
    ) -> Tensor | None:
        """Add what a level has to the units of a weight or bias that positions keep."""
        own: Tensor | None = getattr(self, _OWN[name])
        shapes = self._shapes(name) if own is not None else {}
        if own is None or shared is None or level not in shapes:
            return shared
        sizes = {each: math.prod(shape) for each, shape in shapes.items()}
        start = sum(size for each, size in sizes.items() if each < level)
        more = own.narrow(0, start, sizes[level]).view(shapes[level])
        for dim, axis in enumerate(super().parameter_axes[name]):
            more = fit_units(more, axis, self.levels[level], positions, dim)
        # What full width has is built on, not pulled at.
        return shared.detach() + more

    def set_own(self, **values: Tensor) -> None:
        """Set what is added to ``weight`` or ``bias`` at the width that the knobs stand at.

        Args:
            values: By name, of the shape that the weight or bias has at that width.
        """
        positions: Any = {control: control.position for control in self._controls}
        level = level_of(positions, self._controls)
        for name, value in values.items():
            own, shapes = getattr(self, _OWN[name]), self._shapes(name)
            if level not in shapes:
                continue
            start = sum(math.prod(shape) for each, shape in shapes.items() if each < level)
            places = torch.arange(math.prod(shapes[level]), device=own.device).view(shapes[level])
            for dim, axis in enumerate(super().parameter_axes[name]):
                places = fit_units(places, axis, self.levels[level], positions, dim)
            with torch.no_grad():
                own[start + places.flatten()] = value.flatten()

    def _own_at(
        self, parts: WeightAndBias, level: int, positions: Mapping[WidthControl, int]
    ) -> WeightAndBias:
        weight, bias = (
            self._add_own(name, part, level, positions)
            for name, part in zip(_OWN, parts, strict=True)
        )
        return weight, bias  # type: ignore[return-value]

    def _at_one_width(self, parts: WeightAndBias) -> WeightAndBias:
        """Add what belongs to the width that all samples have."""
        positions = {control: control.position for control in self._controls}
        known = {knob: each for knob, each in positions.items() if isinstance(each, int)}
        if len(known) < len(positions) or (level := level_of(known, self._controls)) == FULL:
            return parts
        return self._own_at(parts, level, known)

    def _sample_levels(self) -> Tensor | None:
        """Return the level of each sample, None where all have one width."""
        positions = {control: control.position for control in self._controls}
        if all(isinstance(each, int) for each in positions.values()):
            return None
        return levels_of(positions, self._controls)

    @property
    def _widest(self) -> dict[WidthControl, int]:
        return {control: control.widest for control in self._controls}

    def widest_alike(self, position: int) -> int | None:
        """Return the widest position of the level, which shares its weights."""
        controls = self._controls
        if len(controls) != 1:
            return position
        level = level_of({controls[0]: position}, controls)
        return self.levels[level][controls[0]] if level in self.levels else None

    def folds(self, positions: Mapping[WidthControl, int]) -> bool:
        """Whether `cut` gives more than first units, as it does below full width."""
        level = level_of(positions, self._controls)
        return level in self.levels or type(self).cut is not SwitchableLayer.cut

    def cut(self, positions: Mapping[WidthControl, int]) -> dict[str, Tensor]:
        """Return weight and bias with all that belongs to a width folded in."""
        parts, level = super().cut(positions), level_of(positions, self._controls)
        with torch.no_grad():
            for name in _OWN:
                if name in parts and level != FULL:
                    folded = self._add_own(name, parts[name], level, positions)
                    assert folded is not None
                    parts[name] = folded
        return parts

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes of each parameter; of what belongs to narrow widths a submodel keeps nothing."""
        own = {name: (0,) for name in _OWN.values() if getattr(self, name, None) is not None}
        return super().parameter_axes | own


def _size(axis: Axis, positions: Mapping[WidthControl, int]) -> int:
    # A knob of one position always keeps all, and has no level.
    return kept_size(axis, {knob: positions.get(knob, knob.steps) for knob in knobs_of(axis)})


class _SwitchableWeights(SwitchableLayer, WeightedLayer):
    """A layer that multiplies by a weight."""

    def kept_parameters(self) -> WeightAndBias:
        """Return weight and bias at the width the knobs stand at, its own included."""
        return self._at_one_width(super().kept_parameters())

    def forward(self, input: Tensor, *args: Any) -> Tensor:
        """Apply the layer at the width its knobs stand at."""
        levels = self._sample_levels()
        if levels is None:
            y: Tensor = super().forward(input, *args)
            return y
        x = keep_prefix(input, self.in_axis, self.unit_dim)
        if len(x) != len(levels):
            raise ValueError(
                f"input must have one row for each of the {len(levels)} widths, got shape "
                f"{tuple(x.shape)}"
            )
        levels, parameters = levels.to(x.device), self.kept_parameters()
        rows, outputs = [], []
        for level in levels.unique().tolist():
            rows.append((levels == level).nonzero().flatten())
            own = self._own_at(parameters, level, self._widest)
            outputs.append(self.compute(x[rows[-1]], *own, *args))
        return torch.cat(outputs)[torch.cat(rows).argsort()]


class _SwitchableNorm(SwitchableLayer, norm.Norm):
    """A norm, whose scale and shift are its weight and bias."""

    def first_parameters(self) -> WeightAndBias:
        """Return scale and shift at the width the knob stands at, its own included."""
        if is_masked(self.axis):
            return None, None  # type: ignore[return-value]
        return self._at_one_width(super().first_parameters())  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the units kept at the width the knob stands at."""
        y: Tensor = super().forward(input)
        levels = self._sample_levels()
        if levels is None:
            return y
        shared: Any = super().first_parameters()
        known = [FULL, *range(len(level_tops(self._controls)))]
        tables = zip(*(self._own_at(shared, level, self._widest) for level in known), strict=True)
        scale, shift = (
            None if table[0] is None else spread(torch.stack(table)[levels.to(y.device) + 1], y,
                                                 self.unit_dim)
            for table in tables
        )  # fmt: skip
        scaled = y if scale is None else y * scale
        return (scaled if shift is None else scaled + shift).to(y.dtype)


class SwitchableLinear(_SwitchableWeights, VariableLinear):
    """`VariableLinear` with weights of its own for narrow widths; `condition` makes it."""

    own_attributes = (*VariableLinear.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableConv1d(_SwitchableWeights, conv.VariableConv1d):
    """`VariableConv1d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConv1d.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableConv2d(_SwitchableWeights, conv.VariableConv2d):
    """`VariableConv2d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConv2d.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableConv3d(_SwitchableWeights, conv.VariableConv3d):
    """`VariableConv3d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConv3d.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableConvTranspose1d(_SwitchableWeights, conv.VariableConvTranspose1d):
    """`VariableConvTranspose1d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConvTranspose1d.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableConvTranspose2d(_SwitchableWeights, conv.VariableConvTranspose2d):
    """`VariableConvTranspose2d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConvTranspose2d.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableConvTranspose3d(_SwitchableWeights, conv.VariableConvTranspose3d):
    """`VariableConvTranspose3d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConvTranspose3d.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableBatchNorm1d(_SwitchableNorm, batch_norm.VariableBatchNorm1d):
    """`VariableBatchNorm1d` with a scale and a shift of its own for narrow widths."""

    own_attributes = (*batch_norm.VariableBatchNorm1d.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableBatchNorm2d(_SwitchableNorm, batch_norm.VariableBatchNorm2d):
    """`VariableBatchNorm2d` with a scale and a shift of its own for narrow widths."""

    own_attributes = (*batch_norm.VariableBatchNorm2d.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableBatchNorm3d(_SwitchableNorm, batch_norm.VariableBatchNorm3d):
    """`VariableBatchNorm3d` with a scale and a shift of its own for narrow widths."""

    own_attributes = (*batch_norm.VariableBatchNorm3d.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableGroupNorm(_SwitchableNorm, norm.VariableGroupNorm):
    """`VariableGroupNorm` with a scale and a shift of its own for narrow widths."""

    own_attributes = (*norm.VariableGroupNorm.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableLayerNorm(_SwitchableNorm, norm.VariableLayerNorm):
    """`VariableLayerNorm` with a scale and a shift of its own for narrow widths."""

    own_attributes = (*norm.VariableLayerNorm.own_attributes, *_OWN_ATTRIBUTES)


class SwitchableRMSNorm(_SwitchableNorm, norm.VariableRMSNorm):
    """`VariableRMSNorm` with a scale of its own for narrow widths."""

    own_attributes = (*norm.VariableRMSNorm.own_attributes, *_OWN_ATTRIBUTES)


SWITCHABLE: dict[type[VariableLayer], type[SwitchableLayer]] = {
    cls.__bases__[1]: cls
    for cls in (
        *(SwitchableLinear, SwitchableConv1d, SwitchableConv2d, SwitchableConv3d),
        *(SwitchableConvTranspose1d, SwitchableConvTranspose2d, SwitchableConvTranspose3d),
        *(SwitchableBatchNorm1d, SwitchableBatchNorm2d, SwitchableBatchNorm3d),
        *(SwitchableGroupNorm, SwitchableLayerNorm, SwitchableRMSNorm),
    )
}
"The form that `condition` gives each variable layer."
