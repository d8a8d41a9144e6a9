"""What `fit` does: full width in every step, and it teaches narrow widths."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import (
    check_callable,
    check_flag,
    check_fraction,
    check_number,
    check_tensor,
)
from vsnn_lab._basics.sums import sums_are_safe
from vsnn_lab.layers.octaves import octave_of
from vsnn_lab.layers.side_by_side import at_several_positions
from vsnn_lab.layers.switchable import SwitchableLinear
from vsnn_lab.networks.channels_last import channels_last
from vsnn_lab.networks.forward import forward_at_widths, runs_of
from vsnn_lab.networks.gate import (
    is_elementwise,
    may_write_in_place,
    proven_chain,
)
from vsnn_lab.samplers import Sampler
from vsnn_lab.train.recipes.base import Recipe, check_draws
from vsnn_lab.train.recipes.distillation import DistillationLoss, soft_target_function
from vsnn_lab.train.recipes.narrow_widths import EachOctave, Narrow, NarrowWidths
from vsnn_lab.train.recipes.step import Step, Widths, check_step


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
        narrow: Draws the narrow widths of a step: `EachOctave` or `NarrowestAndRandom`; or a
            sampler, which gives each sample one of them, for networks such as autoencoders, most of
            whose layers are as large at every width.
        labels: Share of the labels in what they learn; the rest is the full output's.
        weight: What their loss counts beside the full one at first.
        final_weight: What it counts in the end; by default as at first.
        relative: Whether each narrow loss counts relative to its size: it is scaled to that of the
            full one, its gradient's direction kept, so that a width whose loss is five times larger
            gets no louder a voice. That matters where all widths pull at the same weights.
        teach: Makes a target for the loss of an output. By default that follows from the loss: for
            torch's cross entropies a softmax or a sigmoid, for its distances the output itself.
            Any other loss learns narrow widths from the labels alone, unless ``teach`` is given.

    References:
        Yu & Huang 2019, "Universally Slimmable Networks", arXiv 1903.05134, for full width in every
        step and in-place distillation; Kendall et al. 2018, arXiv 1705.07115, for losses of unlike
        size; weights of their own for octaves of widths are ours.
    """

    narrow: NarrowWidths | Sampler = field(default_factory=EachOctave)
    labels: float = 0.5
    weight: float = 1.0
    final_weight: float | None = None
    relative: bool = False
    teach: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if callable(self.narrow) or not callable(getattr(self.narrow, "draw", None)):
            check_callable("narrow", self.narrow, "a sampler, or draw narrow widths")
        check_fraction("labels", self.labels)
        check_number("weight", self.weight, 0)
        if self.final_weight is not None:
            check_number("final_weight", self.final_weight, 0)
        check_flag("relative", self.relative)
        if self.teach is not None:
            check_callable("teach", self.teach, "callable on an output, or None")

    @property
    def draws_independently(self) -> bool:  # type: ignore[override]
        """Whether it can draw for each of several knobs by itself."""
        return callable(self.narrow) or hasattr(self.narrow, "draw_apart")

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
        full = check_tensor("what loss returns", step.loss(output, step.y))
        yield full
        soften = soft_target_function(step.loss) if self.teach is None else self.teach
        loss = DistillationLoss(step.loss, output.detach(), step.y, self.labels, soften)
        size = full.detach() if self.relative else None
        # They would keep alive what they were computed from.
        del output, full
        final = self.weight if self.final_weight is None else self.final_weight
        weight = self.weight + (final - self.weight) * step.progress
        if not isinstance(draws, list):
            yield weight * _loss_of_samples(step, x, draws, loss, size)
            return
        several = _count_side_by_side(step, draws) if size is None and sums_are_safe(x) else 0
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
                yield weight * each.weight * _scale_to(size, value)

    def _draw(self, step: Step) -> list[Narrow] | Widths:
        """Return the narrow widths of a step, or a narrow width of each of its samples."""
        if callable(self.narrow):
            return step.draw(self.narrow, below_full=True) if step.steps > 1 else []
        if len(step.controls) > 1 and step.knobs == "independent":
            apart: Any = self.narrow
            return apart.draw_apart(step.controls, step.generator)
        return self.narrow.draw(step.steps, step.generator)


def _loss_of_samples(
    step: Step, x: Tensor, widths: Widths, loss: DistillationLoss, size: Tensor | None
) -> Tensor:
    """Return the mean loss of samples that have a narrow width each, of relative ones by runs."""
    output = forward_at_widths(step.model, x, widths)
    if size is None:
        return loss(output)
    by_knob = {step.control: widths} if isinstance(widths, Tensor) else widths
    value, start = torch.zeros_like(size), 0
    for _, length in runs_of(by_knob):
        rows = slice(start, start + length)
        value = value + length * _scale_to(size, loss(output[rows], rows))
        start += length
    return value / len(x)


def _scale_to(size: Tensor | None, value: Tensor) -> Tensor:
    """Return a loss scaled to a size, its gradient's direction kept; to none as it is."""
    if size is None:
        return value
    own, unit = value.detach().abs(), size.abs()
    # A loss of 0 has no size of its own.
    smallest = torch.finfo(own.dtype)
    return unit / own.clamp_min(smallest.tiny).maximum(smallest.eps * unit) * value


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
