"""What layers with weights of their own for narrow widths have in common.

Widths of one octave are alike, 5 to 8 say; 8 and 64 are not. So each level of narrow widths, an
octave, adds a weight and a bias of its own to what full width has, nested within the level as a
variable layer's are. What full width has gets no gradient there, and full width uses nothing else:
it stays what it is, to the bit, however narrow widths are trained. Cut out, a submodel has all of
it folded into weight and bias, and no parameter more.

Batch norms of their own for each width are those of Yu et al. 2019, "Slimmable Neural Networks",
arXiv 1812.08928, who call them switchable; weights for each octave are ours.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_fraction, short_repr
from vsnn_lab.layers.base import VariableLayer, WeightAndBias
from vsnn_lab.layers.corners import Axis
from vsnn_lab.layers.levels import FULL, fit_units, level_of, level_tops, levels_of
from vsnn_lab.widths import WidthControl, kept_size, knobs_of

OWN = {"weight": "own_weight", "bias": "own_bias"}
OWN_ATTRIBUTES = (*OWN.values(), "own_shapes", "levels", "control", "own_pace")


class SwitchableLayer(VariableLayer):
    """A layer with weights of its own for narrow widths.

    A subclass also derives from the variable layer that it adds them to. ``own_weight`` and
    ``own_bias`` are vectors that hold those of all levels, one after the other, the widest first.

    Attributes:
        control: The knob of a layer whose own axes are fixed, else None.
        levels: The levels that have weights of their own, with the widest position of each knob.
        own_pace: What own weights count: above 1 they move so much faster than others do.
    """

    takes_prefixes = False

    control: WidthControl | None
    levels: dict[int, dict[WidthControl, int]]
    own_shapes: dict[str, dict[int, tuple[int, ...]]]
    own_pace: float
    own_weight: nn.Parameter | None
    own_bias: nn.Parameter | None

    def add_own_parameters(
        self,
        own_share: float = 1.0,
        control: WidthControl | None = None,
        pace: float = 1.0,
    ) -> None:
        """Add weights for narrow widths, all zero at first, so that nothing is changed.

        Args:
            own_share: Up to which share of the knobs there are some; 1 means all narrow widths.
            control: The knob that counts for a layer whose axes are fixed.
            pace: What own weights count.
        """
        check_fraction("own_share", own_share)
        if control is not None and not isinstance(control, WidthControl):
            raise TypeError(f"control must be a WidthControl, got {short_repr(control)}")
        self.control = None if knobs_of(self.in_axis, self.out_axis) else control
        self.own_pace = pace
        self.levels = {
            level: tops
            for level, tops in enumerate(level_tops(self._controls))
            if all(top <= own_share * knob.steps for knob, top in tops.items())
        }
        self.own_shapes = {}
        for name, own in OWN.items():
            whole: Tensor | None = getattr(self, name, None)
            parameter = None
            if whole is not None:
                self.own_shapes[name] = self._shapes_of(name, whole)
                size = sum(map(math.prod, self.own_shapes[name].values()))
                parameter = nn.Parameter(whole.detach().new_zeros(size))
            self.register_parameter(own, parameter)

    @property
    def _controls(self) -> list[WidthControl]:
        knobs = knobs_of(self.in_axis, self.out_axis)
        if self.control is not None and not knobs:
            knobs = [self.control]
        return [each for each in knobs if each.steps != 1]

    def _shapes_of(self, name: str, whole: Tensor) -> dict[int, tuple[int, ...]]:
        """Return the shape of what each level has for a weight or bias."""
        axes = super().parameter_axes[name]
        return {
            level: (*(_size(axis, tops) for axis in axes), *whole.shape[len(axes) :])
            for level, tops in self.levels.items()
        }

    def _level(self, positions: Mapping[WidthControl, int]) -> int:
        """Return the level where knobs stand; `FULL` also where none has weights of its own."""
        level = level_of(positions, self._controls)
        return level if level in self.levels else FULL

    def _add_own(
        self, name: str, shared: Tensor | None, level: int, positions: Mapping[WidthControl, int]
    ) -> Tensor | None:
        """Add what a level has to the units of a weight or bias that positions keep."""
        own: Tensor | None = getattr(self, OWN[name])
        if own is None or shared is None or level == FULL:
            return shared
        more = self._of_level(name, own, level)
        for dim, axis in enumerate(super().parameter_axes[name]):
            more = fit_units(more, axis, self.levels[level], positions, dim)
        # What full width has is built on, not pulled at.
        return torch.add(shared.detach(), more, alpha=self.own_pace)

    def _of_level(self, name: str, own: Tensor, level: int) -> Tensor:
        """Return what a level has of a vector of own weights or biases."""
        shapes = self.own_shapes[name]
        start = sum(math.prod(shape) for each, shape in shapes.items() if each < level)
        return own.narrow(0, start, math.prod(shapes[level])).view(shapes[level])

    def set_own(self, **values: Tensor) -> None:
        """Set what is added to ``weight`` or ``bias`` at the width that the knobs stand at.

        Widths without a level are left as they are.

        Args:
            values: By name, of the shape that the weight or bias has at that width.
        """
        positions: Any = {control: control.position for control in self._controls}
        if (level := self._level(positions)) == FULL:
            return
        for name, value in values.items():
            own = getattr(self, OWN[name])
            places = self._of_level(name, torch.arange(len(own), device=own.device), level)
            for dim, axis in enumerate(super().parameter_axes[name]):
                places = fit_units(places, axis, self.levels[level], positions, dim)
            with torch.no_grad():
                own[places.flatten()] = value.flatten() / self.own_pace

    def own_at(
        self, parts: WeightAndBias, level: int, positions: Mapping[WidthControl, int]
    ) -> WeightAndBias:
        """Add what a level has to a weight and a bias."""
        weight, bias = (
            self._add_own(name, part, level, positions)
            for name, part in zip(OWN, parts, strict=True)
        )
        return weight, bias  # type: ignore[return-value]

    def at_one_width(self, parts: WeightAndBias) -> WeightAndBias:
        """Add what belongs to the width that all samples have."""
        positions = {control: control.position for control in self._controls}
        known = {knob: each for knob, each in positions.items() if isinstance(each, int)}
        if not positions or len(known) < len(positions):
            return parts
        return self.own_at(parts, self._level(known), known)

    def sample_levels(self) -> Tensor | None:
        """Return the level of each sample, None where all have one width."""
        positions = {control: control.position for control in self._controls}
        if all(isinstance(each, int) for each in positions.values()):
            return None
        return levels_of(positions, self._controls)

    @property
    def widest(self) -> dict[WidthControl, int]:
        """Up to where each knob is computed."""
        return {control: control.widest for control in self._controls}

    def widest_alike(self, position: int) -> int | None:
        """Return the widest position that shares its weights."""
        controls = self._controls
        if len(controls) != 1:
            return position
        level = self._level({controls[0]: position})
        return None if level == FULL else self.levels[level][controls[0]]

    def folds(self, positions: Mapping[WidthControl, int]) -> bool:
        """Whether `cut` gives more than first units, as it does below full width."""
        known = {knob: positions[knob] for knob in self._controls}
        narrow = bool(known) and self._level(known) != FULL
        return narrow or type(self).cut is not SwitchableLayer.cut

    def cut(self, positions: Mapping[WidthControl, int]) -> dict[str, Tensor]:
        """Return weight and bias with all that belongs to a width folded in."""
        parts = super().cut(positions)
        known = {knob: positions[knob] for knob in self._controls}
        if not known or (level := self._level(known)) == FULL:
            return parts
        with torch.no_grad():
            for name in OWN:
                if name in parts:
                    folded = self._add_own(name, parts[name], level, known)
                    assert folded is not None
                    parts[name] = folded
        return parts

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes of each parameter; of what belongs to narrow widths a submodel keeps nothing."""
        own = {name: (0,) for name in OWN.values() if getattr(self, name, None) is not None}
        return super().parameter_axes | own


def _size(axis: Axis, positions: Mapping[WidthControl, int]) -> int:
    # A knob of one position always keeps all, and has no level.
    return kept_size(axis, {knob: positions.get(knob, knob.steps) for knob in knobs_of(axis)})
