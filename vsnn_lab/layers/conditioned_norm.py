"""Norms that know their width: a scale, and where a norm has one a shift, for each position.

What a norm should pass on depends on how much of the network is there. So each position of a knob,
or each octave of them (1, 2, 3..4, 5..8, ...), has a gain by which the norm's weight is multiplied,
full width included; a norm with a bias has a shift, too. All are zero at first, so that nothing is
changed. Cut out, a submodel has them folded into weight and bias, and no parameter more.

Yu et al. 2019, "Slimmable Neural Networks", arXiv 1812.08928, keep norms for each width.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_choice, short_repr
from vsnn_lab.layers import batch_norm, norm
from vsnn_lab.layers.base import ask_for_forward, is_masked
from vsnn_lab.layers.checkpointing import refuse_checkpointing
from vsnn_lab.layers.corners import Axis, first_units
from vsnn_lab.layers.octaves import Per, group_of, group_tops
from vsnn_lab.widths import Width, WidthControl, kept_ranges, spread, take_units

# Gains and shifts move this much faster than weights, whose rate an optimizer is given: each of
# them is trained by its own position alone. Plain language models gain from it, too: 2 % of their
# bits per byte, against a rate like that of all else.
_PACE = 3.0
_TABLES = {"weight": "gain", "bias": "own_shift"}
_OWN = (*_TABLES.values(), "condition", "per", "tops")


class ConditionedNorm(norm.Norm):
    """What norms with a gain for each position share.

    A subclass also derives from the variable norm that it adds them to.

    Attributes:
        condition: The knobs whose positions are the condition, as an axis joined of one for each.
        per: Whether each position has a gain of its own, or each octave.
        tops: For each knob the last position of every group that has a gain of its own, but for
            the last group.
    """

    condition: Axis
    gain: nn.Parameter
    own_shift: nn.Parameter | None
    per: Per
    tops: tuple[tuple[int, ...], ...]
    takes_prefixes = False

    def add_gains(
        self, controls: WidthControl | Sequence[WidthControl], per: Per = "position"
    ) -> None:
        """Add gains for the positions of knobs, all zero at first, so that nothing is changed.

        Args:
            controls: The knobs; of several the mean of their gains counts.
            per: Whether each position has its own, or each octave of them and full width.
        """
        check_choice("per", per, ("position", "octave"))
        self.per = per
        knobs: list[Any] = [*controls] if isinstance(controls, list | tuple) else [controls]
        if not knobs or not all(isinstance(each, WidthControl) for each in knobs):
            raise TypeError(f"controls must be WidthControls, got {short_repr(controls)}")
        axes = [Width(each.steps, each) for each in dict.fromkeys(knobs)]
        self.condition = sum(axes[1:], axes[0])
        self.tops = tuple(group_tops(axis.max_width, per) for axis in axes)
        for name, own in _TABLES.items():
            whole: Tensor | None = getattr(self, name, None)
            rows = sum(len(tops) + 1 for tops in self.tops)
            table = (
                None if whole is None else nn.Parameter(whole.detach().new_zeros(rows, len(whole)))
            )
            self.register_parameter(own, table)
        self.register_forward_pre_hook(ask_for_forward)

    def _rows(self, positions: Mapping[WidthControl, Any]) -> list[Any]:
        """Return the row of each knob's group in the tables, or of those of each sample."""
        assert isinstance(self.condition, Width)
        starts = accumulate((len(tops) + 1 for tops in self.tops), initial=0)
        rows: list[Any] = []
        for start, tops, control in zip(starts, self.tops, self.condition.controls, strict=False):
            position = positions[control]
            if self.per == "position":
                rows.append(start + position - 1)
            else:
                rows.append(start + group_of(position, tops))
        return rows

    def _conditioned(
        self,
        weight: Tensor,
        bias: Tensor | None,
        positions: Mapping[WidthControl, Any],
        keep: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias at some positions, a row for each sample where one has its own.

        Args:
            weight: That of the units kept.
            bias: The same.
            positions: Where the knobs stand.
            keep: Takes the units kept of a table, shape (rows, units).
        """
        rows = self._rows(positions)
        own = []
        for table in (self.gain, self.own_shift):
            if table is not None:
                kept = keep(table)
                own.append(
                    sum((kept[row] for row in rows[1:]), kept[rows[0]]) * (_PACE / len(rows))
                )
        return torch.addcmul(weight, weight, own[0]), None if bias is None else bias + own[1]

    def _keep_units(self, table: Tensor) -> Tensor:
        return first_units(table, self.axis, 1)

    @property
    def _positions(self) -> dict[WidthControl, Any]:
        assert isinstance(self.condition, Width)
        return {control: control.position for control in self.condition.controls}

    def first_parameters(self) -> tuple[Tensor | None, Tensor | None]:
        """Return scale and shift at the width the knobs stand at, where all samples share it."""
        refuse_checkpointing(self.condition)
        if is_masked(self.condition) or is_masked(self.axis):
            return None, None
        weight, bias = super().first_parameters()
        assert weight is not None
        return self._conditioned(weight, bias, self._positions, self._keep_units)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the units kept at the width the knobs stand at."""
        y: Tensor = super().forward(input)
        if not (is_masked(self.condition) or is_masked(self.axis)):
            return y
        weight, bias = super().first_parameters()
        assert weight is not None
        positions = {
            control: each.to(y.device) if isinstance(each, Tensor) else each
            for control, each in self._positions.items()
        }
        for each in positions.values():
            if isinstance(each, Tensor) and len(each) != len(y):
                raise ValueError(
                    f"input must have one row for each of the {len(each)} widths, got shape "
                    f"{tuple(y.shape)}"
                )
        scale, shift = self._conditioned(weight, bias, positions, self._keep_units)
        scaled = y * spread(scale.expand(len(y), -1), y, self.unit_dim)
        if shift is not None:
            scaled = scaled + spread(shift.expand(len(y), -1), y, self.unit_dim)
        return scaled.to(y.dtype)

    def widest_alike(self, position: int) -> int:
        """Return the position itself: every width may have a gain of its own."""
        return position

    def cut(self, positions: Mapping[WidthControl, int]) -> dict[str, Tensor]:
        """Return weight and bias with the gain and the shift of a width folded in."""
        parts, axis = super().cut(positions), self.axis

        def keep(table: Tensor) -> Tensor:
            if isinstance(axis, Width):
                return take_units(table, kept_ranges(axis, positions), 1)
            return table

        with torch.no_grad():
            own = self._conditioned(parts["weight"], parts.get("bias"), positions, keep)
        return parts | {n: p for n, p in zip(("weight", "bias"), own, strict=True) if p is not None}

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes of each parameter; of what belongs to positions a submodel keeps nothing."""
        own = {name: (0,) for name in _TABLES.values() if getattr(self, name, None) is not None}
        return super().parameter_axes | own


class ConditionedRMSNorm(ConditionedNorm, norm.VariableRMSNorm):
    """`VariableRMSNorm` with a gain for each position of a knob.

    Args:
        normalized_shape: The last axis: an int, or a `Width`.
        controls: The knob whose position is the condition, or several, whose mean gain counts.
        per: "position", or "octave": whether neighbouring positions share one.
        options: Further arguments of ``torch.nn.RMSNorm``.

    Shape:
        As of `VariableRMSNorm`. ``gain`` has shape (positions, units).

    Example:
        >>> from vsnn_lab import Width, extract
        >>> hidden = Width(6)
        >>> layer = ConditionedRMSNorm(hidden, hidden.control)
        >>> layer.gain.shape
        torch.Size([6, 6])
        >>> extract(layer, 4)
        RMSNorm((4,), eps=None, elementwise_affine=True)
    """

    own_attributes = (*norm.VariableRMSNorm.own_attributes, *_OWN)

    def __init__(
        self,
        normalized_shape: Axis,
        controls: WidthControl | Sequence[WidthControl],
        per: Per = "position",
        **options: Any,
    ) -> None:
        super().__init__(normalized_shape, **options)
        self.add_gains(controls, per)


class ConditionedLayerNorm(ConditionedNorm, norm.VariableLayerNorm):
    """`VariableLayerNorm` with a gain and a shift for each position."""

    own_attributes = (*norm.VariableLayerNorm.own_attributes, *_OWN)


class ConditionedGroupNorm(ConditionedNorm, norm.VariableGroupNorm):
    """`VariableGroupNorm` with a gain and a shift for each position."""

    own_attributes = (*norm.VariableGroupNorm.own_attributes, *_OWN)


class ConditionedBatchNorm1d(ConditionedNorm, batch_norm.VariableBatchNorm1d):
    """`VariableBatchNorm1d` with a gain and a shift for each position."""

    own_attributes = (*batch_norm.VariableBatchNorm1d.own_attributes, *_OWN)


class ConditionedBatchNorm2d(ConditionedNorm, batch_norm.VariableBatchNorm2d):
    """`VariableBatchNorm2d` with a gain and a shift for each position."""

    own_attributes = (*batch_norm.VariableBatchNorm2d.own_attributes, *_OWN)


class ConditionedBatchNorm3d(ConditionedNorm, batch_norm.VariableBatchNorm3d):
    """`VariableBatchNorm3d` with a gain and a shift for each position."""

    own_attributes = (*batch_norm.VariableBatchNorm3d.own_attributes, *_OWN)


CONDITIONED: dict[type[nn.Module], type[ConditionedNorm]] = {
    plain: cls
    for cls in (
        *(ConditionedRMSNorm, ConditionedLayerNorm, ConditionedGroupNorm),
        *(ConditionedBatchNorm1d, ConditionedBatchNorm2d, ConditionedBatchNorm3d),
    )
    for plain in cls.__bases__[1:] + cls.__bases__[1].__bases__[1:]
}
"The form that `condition_norms` gives each norm, variable or torch's own."
