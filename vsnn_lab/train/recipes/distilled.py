"""What `fit` does: full width in every step, and it teaches narrow widths."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from vsnn_lab._basics.checks import (
    check_callable,
    check_fraction,
    check_number,
    check_tensor,
    short_repr,
)
from vsnn_lab.layers.octaves import octave_of
from vsnn_lab.layers.side_by_side import at_several_positions
from vsnn_lab.layers.switchable import SwitchableLinear
from vsnn_lab.networks.channels_last import channels_last
from vsnn_lab.networks.gate import (
    is_elementwise,
    may_write_in_place,
    proven_chain,
    sums_are_safe,
)
from vsnn_lab.train.recipes.base import Recipe, check_draws
from vsnn_lab.train.recipes.distillation import DistillationLoss, soft_target_function
from vsnn_lab.train.recipes.narrow_widths import EachOctave, Narrow, NarrowWidths
from vsnn_lab.train.recipes.step import Step, check_step


@dataclass(frozen=True)
class Distilled(Recipe):
    """Each sample at full width, which teaches some narrow widths what it learns.

    A step trains the whole batch at full width, for the labels alone. Its output, without
    gradient, and the labels are the target of a few narrow widths on some of the samples. Narrow
    layers are small, so that all of it costs about as much as a second step at full width.

    It asks for layers that have weights of their own for narrow widths, such as
    ``MLP(..., conditioned=True)`` has. Narrow widths pass them no gradient of what full width has:
    that comes out as if it were trained alone, to the bit. Any other variable network it trains,
    too, where all widths pull at the same weights. Several knobs it turns together.

    Args:
        narrow: Draws the narrow widths of a step: `EachOctave` or `NarrowestAndRandom`.
        labels: Share of the labels in what they learn; the rest is the full output's.
        weight: What their loss counts beside the full one at first.
        final_weight: What it counts in the end; by default as at first.
        teach: Makes a target for the loss of an output. By default that follows from the loss: for
            torch's cross entropies a softmax or a sigmoid, for its distances the output itself.
            Any other loss learns narrow widths from the labels alone, unless ``teach`` is given.

    References:
        Yu & Huang 2019, "Universally Slimmable Networks", arXiv 1903.05134, for full width in every
        step and in-place distillation; weights of their own for octaves of widths are ours.
    """

    narrow: NarrowWidths = field(default_factory=EachOctave)
    labels: float = 0.5
    weight: float = 1.0
    final_weight: float | None = None
    teach: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if not callable(getattr(self.narrow, "draw", None)):
            raise TypeError(f"narrow must draw narrow widths, got {short_repr(self.narrow)}")
        check_fraction("labels", self.labels)
        check_number("weight", self.weight, 0)
        if self.final_weight is not None:
            check_number("final_weight", self.final_weight, 0)
        if self.teach is not None:
            check_callable("teach", self.teach, "callable on an output, or None")

    @property
    def draws_independently(self) -> bool:  # type: ignore[override]
        """Whether it can draw for each of several knobs by itself."""
        return hasattr(self.narrow, "draw_apart")

    def losses(self, step: Step) -> Iterator[Tensor]:
        """Yield the loss at full width, then the weighted narrow ones."""
        check_draws(self, check_step(step).controls, step.knobs)
        draws = self._draw(step)
        x = channels_last(step.model, step.x)
        # Asked once, since to look through a model takes longer than a small layer does.
        copied = may_write_in_place(step.model)

        def run(part: Tensor) -> Any:
            return step.model(part.clone() if copied else part)

        # Turned to full width, since at rest a mask draws widths of its own.
        with step.turn(step.steps):
            output = check_tensor("output", run(x))
        yield check_tensor("what loss returns", step.loss(output, step.y))
        soften = soft_target_function(step.loss) if self.teach is None else self.teach
        loss = DistillationLoss(step.loss, output.detach(), step.y, self.labels, soften)
        del output  # It would keep alive what it was computed from.
        final = self.weight if self.final_weight is None else self.final_weight
        weight = self.weight + (final - self.weight) * step.progress
        several = _count_side_by_side(step, draws) if sums_are_safe(x) else 0
        if several and (rows := step.first_rows(draws[0].rows)).stop:
            positions: list[Any] = [each.position for each in draws[:several]]
            with at_several_positions(step.controls[0], positions):
                outputs = run(x[rows])
            yield several * weight * draws[0].weight * loss.of_several(outputs, rows)
            del outputs
            draws = draws[several:]
        for each in draws:
            if (rows := step.first_rows(each.rows)).stop:
                with step.turn(each.position):
                    value = loss(run(x[rows]), rows)
                yield weight * each.weight * value

    def _draw(self, step: Step) -> list[Narrow]:
        if len(step.controls) > 1 and step.knobs == "independent":
            apart: Any = self.narrow
            return apart.draw_apart(step.controls, step.generator)
        return self.narrow.draw(step.steps, step.generator)


def _count_side_by_side(step: Step, draws: Sequence[Narrow]) -> int:
    """Return how many of the first draws can run side by side: one of each level, or none."""
    modules: list[Any] = [
        part for part in proven_chain(step.model) or [] if not is_elementwise(part)
    ]
    while modules and isinstance(modules[0], nn.Flatten):
        modules.pop(0)
    if len(modules) < 2 or not all(isinstance(part, SwitchableLinear) for part in modules):
        return 0
    axes = [modules[0].in_axis, *(part.out_axis for part in modules)]
    fixed = [isinstance(axis, int) for axis in axes]
    if fixed != [True, *[False] * (len(axes) - 2), True] or len(step.controls) != 1:
        return 0
    levels, narrow = modules[0].levels, modules[0].own_weights.narrow
    if any(part.levels.keys() != levels.keys() for part in modules):
        return 0
    count = 0
    for level, each in zip(sorted(levels, reverse=True), draws, strict=False):
        (top,) = levels[level].values()
        position: Any = each.position
        if level < narrow or each[1:] != draws[0][1:] or octave_of(position) != octave_of(top):
            break
        count += 1
    return count if count > 1 else 0
