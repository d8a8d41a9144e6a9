"""What layers with weights of their own for narrow widths have in common.

Widths of one octave are alike, 5 to 8 say; 8 and 64 are not. So each level of narrow widths, an
octave, adds a weight and a bias of its own to what full width has, nested within the level as a
variable layer's are. What full width has gets no gradient there, and full width uses nothing else:
it stays what it is, to the bit, however narrow widths are trained. Cut out, a submodel has all of
it folded into weight and bias, and no parameter more.

Batch norms of their own for each width are those of Yu et al. 2019, "Slimmable Neural Networks",
arXiv 1812.08928, who call them switchable; weights for each octave are ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_fraction, short_repr
from vsnn_lab.layers.base import VariableLayer, WeightAndBias
from vsnn_lab.layers.corners import Axis
from vsnn_lab.layers.level_weights import LevelWeights
from vsnn_lab.layers.levels import (
    FULL,
    LevelRuns,
    fit_units,
    level_of,
    level_tops,
    levels_of,
    runs_of_levels,
)
from vsnn_lab.layers.octaves import is_narrow
from vsnn_lab.widths import WidthControl, kept_size, knobs_of

_NAMES = ("weight", "bias")
OWN_ATTRIBUTES = ("own_weights", "levels", "control", "own_pace", "wide_pace")


class SwitchableLayer(VariableLayer):
    """A layer with weights of its own for narrow widths.

    A subclass also derives from the variable layer that it adds them to.

    Attributes:
        own_weights: What each level has.
        control: The knob of a layer whose own axes are fixed, else None.
        levels: The levels that have weights of their own, with the widest position of each knob.
        own_pace: What own weights count: above 1 they move so much faster than others do.
        wide_pace: The same for those of levels that are not narrow.
    """

    takes_prefixes = False

    own_weights: LevelWeights
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
        rank: int | None = None,
    ) -> None:
        """Add weights for narrow widths, all zero at first, so that nothing is changed.

        Args:
            own_share: Up to which share of the knobs there are some; 1 means all narrow widths.
            control: The knob that counts for a layer whose axes are fixed.
            pace: What own weights count.
            wide_pace: What those of levels count that are not narrow.
            rank: That of products in place of large weights of such levels, if there are any.
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
            if not all(is_narrow(top, knob.steps) for knob, top in tops.items())
        ]
        self.own_weights = LevelWeights(1 + max(wide, default=-1), rank)
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
        return torch.add(shared.detach(), own, alpha=self._pace(name, level))

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
            with torch.no_grad():
                own = self.own_weights.of(name, level)
                assert own is not None
                places = torch.arange(own.numel(), device=own.device).view(own.shape)
                for dim, axis in enumerate(self.parameter_axes[name]):
                    places = fit_units(places, axis, self.levels[level], positions, dim)
                whole = own.flatten()
                whole[places.flatten()] = value.flatten() / self._pace(name, level)
                self.own_weights.set(name, level, whole.view(own.shape))

    def add_in_a_row(self, name: str, shared: Tensor, levels: Sequence[int]) -> Tensor:
        """Add what the last levels have to what they share, as vectors, the widest first."""
        own = self.own_weights
        pieces = [
            self._pace(name, level) * each.flatten()
            for level in levels
            if level < own.narrow and (each := own.of(name, level)) is not None
        ]
        if not pieces:
            return torch.add(shared, own.last(name, levels), alpha=self.own_pace)
        return shared + torch.cat([*pieces, self.own_pace * own.last(name, levels)])

    def _pace(self, name: str, level: int) -> float:
        own = self.own_weights
        narrow = level >= own.narrow or own.is_product(name, level)
        return self.own_pace if narrow else self.wide_pace

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
        here = self._here()
        return parts if here is None else self.own_at(parts, *here)

    def product_here(self) -> tuple[Tensor, Tensor] | None:
        """Return the product that the width of all samples adds to the weight, if it is one.

        Returns:
            Matrices of shape (units, rank) and (rank, inputs).
        """
        if self.own_weights.rank is None or (here := self._here()) is None:
            return None
        level, positions = here
        if not self.own_weights.is_product("weight", level):
            return None
        rows, columns = self.own_weights.product("weight", level)
        axes, tops = self.parameter_axes["weight"], self.levels[level]
        rows = fit_units(rows, axes[0], tops, positions, 0)
        return rows, fit_units(columns, axes[1], tops, positions, 1)

    def bias_here(self, bias: Tensor | None) -> Tensor | None:
        """Add what the width that all samples have adds to the bias."""
        here = self._here()
        return bias if here is None else self._add_own("bias", bias, *here)

    def _here(self) -> tuple[int, dict[WidthControl, int]] | None:
        """Return the level and where the knobs stand, if all samples have one width."""
        positions = {control: control.position for control in self._controls}
        known = {knob: each for knob, each in positions.items() if isinstance(each, int)}
        if not positions or len(known) < len(positions):
            return None
        return self._level(known), known

    def sample_levels(self) -> Tensor | None:
        """Return the level of each sample, None where all have one width."""
        positions = {control: control.position for control in self._controls}
        if all(isinstance(each, int) for each in positions.values()):
            return None
        return levels_of(positions, self._controls)

    def sample_runs(self) -> LevelRuns | None:
        """Return the runs of samples of one level, None where all have one width."""
        controls = self._controls
        alone = len(controls) == 1 and not torch.compiler.is_compiling()
        # Layers on one knob ask for the same as often as there are layers.
        memo = controls[0].setting.memo if alone else {}
        if LevelRuns not in memo:
            levels = self.sample_levels()
            memo[LevelRuns] = None if levels is None else runs_of_levels(levels)
        runs: LevelRuns | None = memo[LevelRuns]
        return runs

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
