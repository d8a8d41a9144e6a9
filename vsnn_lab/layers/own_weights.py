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
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_fraction, short_repr
from vsnn_lab.layers.base import VariableLayer, WeightAndBias
from vsnn_lab.layers.corners import Axis
from vsnn_lab.layers.levels import FULL, fit_units, level_of, level_tops, levels_of
from vsnn_lab.widths import WidthControl, kept_size, knobs_of

_NAMES = ("weight", "bias")
OWN_ATTRIBUTES = ("own_weights", "levels", "control", "own_pace", "wide_pace")


class OwnWeights(nn.Module):
    """What narrow widths add to the weight and the bias of a layer: ``weight_0`` and so on.

    A level wider than a quarter of the knob has a parameter of its own, which an optimizer leaves
    alone in steps that do not train the level. All others are small and train together: they lie
    in one vector, ``weight_narrow``, the widest first, as steps of many small parameters take long.

    Args:
        narrow: The widest level that lies in the vector.
    """

    def __init__(self, narrow: int) -> None:
        super().__init__()
        self.narrow = narrow
        self.shapes: dict[str, dict[int, tuple[int, ...]]] = {}

    def add(self, name: str, shapes: dict[int, tuple[int, ...]], like: Tensor) -> None:
        """Add zeros of the shape of each level to what the weight or bias of a layer has."""
        self.shapes[name] = shapes
        zeros = like.detach().new_zeros
        for level, shape in shapes.items():
            if level < self.narrow:
                self.register_parameter(f"{name}_{level}", nn.Parameter(zeros(shape)))
        if size := self._size(name, [*shapes]):
            self.register_parameter(f"{name}_narrow", nn.Parameter(zeros(size)))

    def of(self, name: str, level: int) -> Tensor | None:
        """Return what a level has beside the weight or bias of a layer, if there is something."""
        shapes = self.shapes.get(name, {})
        if level not in shapes:
            return None
        if level < self.narrow:
            own: Tensor = getattr(self, f"{name}_{level}")
            return own
        start = self._size(name, [each for each in shapes if each < level])
        vector: Tensor = getattr(self, f"{name}_narrow")
        return vector.narrow(0, start, math.prod(shapes[level])).view(shapes[level])

    def last(self, name: str, levels: Sequence[int]) -> Tensor:
        """Return what the narrow ones of the last levels have, in a row, the widest first."""
        vector: Tensor = getattr(self, f"{name}_narrow")
        size = self._size(name, levels)
        return vector if size == len(vector) else vector.narrow(0, len(vector) - size, size)

    def _size(self, name: str, levels: Sequence[int]) -> int:
        shapes = self.shapes[name]
        return sum(math.prod(shapes[level]) for level in levels if level >= self.narrow)


class SwitchableLayer(VariableLayer):
    """A layer with weights of its own for narrow widths.

    A subclass also derives from the variable layer that it adds them to.

    Attributes:
        own_weights: What each level has.
        control: The knob of a layer whose own axes are fixed, else None.
        levels: The levels that have weights of their own, with the widest position of each knob.
        own_pace: What own weights count: above 1 they move so much faster than others do.
        wide_pace: The same for those of levels wider than a quarter of the knob.
    """

    takes_prefixes = False

    own_weights: OwnWeights
    control: WidthControl | None
    levels: dict[int, dict[WidthControl, int]]
    own_pace: float
    wide_pace: float

    def add_own_parameters(
        self,
        own_share: float = 1.0,
        control: WidthControl | None = None,
        pace: float = 1.0,
        wide_pace: float = 1.0,
    ) -> None:
        """Add weights for narrow widths, all zero at first, so that nothing is changed.

        Args:
            own_share: Up to which share of the knobs there are some; 1 means all narrow widths.
            control: The knob that counts for a layer whose axes are fixed.
            pace: What own weights count.
            wide_pace: What those of levels wider than a quarter of the knob count.
        """
        check_fraction("own_share", own_share)
        if control is not None and not isinstance(control, WidthControl):
            raise TypeError(f"control must be a WidthControl, got {short_repr(control)}")
        self.control = None if knobs_of(self.in_axis, self.out_axis) else control
        self.own_pace, self.wide_pace = pace, wide_pace
        self.levels = {
            level: tops
            for level, tops in enumerate(level_tops(self._controls))
            if all(top <= own_share * knob.steps for knob, top in tops.items())
        }
        wide = [
            level
            for level, tops in self.levels.items()
            if any(4 * top > knob.steps for knob, top in tops.items())
        ]
        self.own_weights = OwnWeights(1 + max(wide, default=-1))
        for name in _NAMES:
            whole: Tensor | None = getattr(self, name, None)
            if whole is not None:
                axes = self.parameter_axes[name]
                shapes = {
                    level: (*(_size(axis, tops) for axis in axes), *whole.shape[len(axes) :])
                    for level, tops in self.levels.items()
                }
                self.own_weights.add(name, shapes, whole)

    @property
    def _controls(self) -> list[WidthControl]:
        knobs = knobs_of(self.in_axis, self.out_axis)
        if self.control is not None and not knobs:
            knobs = [self.control]
        return [each for each in knobs if each.steps != 1]

    def _level(self, positions: Mapping[WidthControl, int]) -> int:
        """Return the level where knobs stand; `FULL` also where none has weights of its own."""
        level = level_of(positions, self._controls)
        return level if level in self.levels else FULL

    def _add_own(
        self, name: str, shared: Tensor | None, level: int, positions: Mapping[WidthControl, int]
    ) -> Tensor | None:
        """Add what a level has to the units of a weight or bias that positions keep."""
        own: Tensor | None = self.own_weights.of(name, level)
        if shared is None or own is None:
            return shared
        for dim, axis in enumerate(self.parameter_axes[name]):
            own = fit_units(own, axis, self.levels[level], positions, dim)
        # What full width has is built on, not pulled at.
        return torch.add(shared.detach(), own, alpha=self._pace(level))

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
            own = self.own_weights.of(name, level)
            assert own is not None
            places = torch.arange(own.numel(), device=own.device).view(own.shape)
            for dim, axis in enumerate(self.parameter_axes[name]):
                places = fit_units(places, axis, self.levels[level], positions, dim)
            with torch.no_grad():
                own.view(-1)[places.flatten()] = value.flatten() / self._pace(level)

    def add_in_a_row(self, name: str, shared: Tensor, levels: Sequence[int]) -> Tensor:
        """Add what the last levels have to what they share, as vectors, the widest first."""
        own = self.own_weights
        wide = [own.of(name, level) for level in levels if level < own.narrow]
        if not wide:
            return torch.add(shared, own.last(name, levels), alpha=self.own_pace)
        pieces = [self.wide_pace * each.flatten() for each in wide if each is not None]
        if len(wide) < len(levels):
            pieces.append(self.own_pace * own.last(name, levels))
        return shared + torch.cat(pieces)

    def _pace(self, level: int) -> float:
        return self.own_pace if level >= self.own_weights.narrow else self.wide_pace

    def own_at(
        self, parts: WeightAndBias, level: int, positions: Mapping[WidthControl, int]
    ) -> WeightAndBias:
        """Add what a level has to a weight and a bias."""
        weight, bias = (
            self._add_own(name, part, level, positions)
            for name, part in zip(_NAMES, parts, strict=True)
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
            for name in _NAMES:
                if name in parts:
                    folded = self._add_own(name, parts[name], level, known)
                    assert folded is not None
                    parts[name] = folded
        return parts


def _size(axis: Axis, positions: Mapping[WidthControl, int]) -> int:
    # A knob of one position always keeps all, and has no level.
    return kept_size(axis, {knob: positions.get(knob, knob.steps) for knob in knobs_of(axis)})
