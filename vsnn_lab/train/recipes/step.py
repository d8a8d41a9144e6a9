"""What a recipe makes a loss of: a batch, and all that decides its widths."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import (
    check_callable,
    check_choice,
    check_fraction,
    check_generator,
    check_rows,
    short_repr,
)
from vsnn_lab.samplers import Sampler
from vsnn_lab.samplers.draws import draw_widths, generator_or_fresh
from vsnn_lab.widths import (
    WidthControl,
    at_width,
    check_controls,
    most_steps,
    single_control,
    turn_together,
)

Loss = Callable[[Tensor, Tensor], Tensor]
Draws = Literal["joint", "independent"]
Widths = Tensor | Mapping[WidthControl, Tensor]
# How widths are drawn for several knobs: one for all of them, or one for each.
DRAWS = ("joint", "independent")


@dataclass(frozen=True)
class Step:
    """One step of a training.

    Attributes:
        model: A network with one knob or several, which stand at full width.
        x: Inputs, one row a sample.
        y: Targets, as many rows.
        loss: Mean loss of a batch, ``loss(output, target) -> scalar``.
        generator: What widths are drawn from; None draws from fresh entropy.
        progress: How much of the training is behind it, in [0, 1].
        samples: Which samples of a batch the rows are, ``range(process, batch_size, processes)``
            where several processes share one; by default all of it.
        knobs: How widths are drawn for several knobs, "joint" or "independent", as in `fit`.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    loss: Loss
    generator: torch.Generator | None = None
    progress: float = 0.0
    samples: range | None = None
    knobs: Draws = "joint"

    @cached_property
    def control(self) -> WidthControl:
        """The knob of a network that has one."""
        return single_control(self.model)

    @cached_property
    def controls(self) -> list[WidthControl]:
        """All knobs of the network."""
        return check_controls(self.model)

    @cached_property
    def steps(self) -> int:
        """How many positions all knobs together have, see `joint_positions`."""
        return most_steps(self.controls)

    @property
    def _samples(self) -> range:
        return range(len(self.x)) if self.samples is None else self.samples

    def draw(self, sampler: Sampler, below_full: bool = False) -> Widths:
        """Return a width for each row: a share of those drawn for the whole batch.

        So they do not depend on how many processes share it. With several knobs it is a width for
        each row by knob, for `forward_at_widths`: joint positions, or a draw for each knob whose
        runs meet those of the first one in random order.

        Args:
            sampler: Draws them.
            below_full: Whether it draws for a knob of a position less, so that none is full width;
                draws for each of several knobs by itself may be, as others then are not.
        """
        samples = self._samples
        rows = slice(samples.start, None, samples.step)
        if len(self.controls) == 1 or self.knobs == "joint":
            steps = self.steps - 1 if below_full else self.steps
            drawn = draw_widths(sampler, samples.stop, steps, self.generator)[rows]
            return drawn if len(self.controls) == 1 else turn_together(self.controls, drawn)
        widths: dict[WidthControl, Tensor] = {}
        for control in self.controls:
            drawn = draw_widths(sampler, samples.stop, control.steps, self.generator)
            widths[control] = (_shuffle_runs(drawn, self.generator) if widths else drawn)[rows]
        return widths

    def turn(self, position: int | Mapping[WidthControl, int]) -> at_width:
        """Hold the network at a joint position, or at one for each knob: ``with step.turn(3):``."""
        if isinstance(position, Mapping):
            return at_width(self.model, position)
        if len(self.controls) == 1:
            return at_width(self.controls[0], position)
        return at_width(self.model, turn_together(self.controls, position))

    def first_rows(self, share: float) -> slice:
        """Return the rows of the first samples of the whole batch, ``share`` of it."""
        samples = self._samples
        end = math.ceil(share * samples.stop)
        return slice(len(range(samples.start, end, samples.step)))


def check_step(step: Any) -> Step:
    """Return a step whose widths can be trained, or say what is wrong: it may be anybody's."""
    if not isinstance(step, Step):
        raise TypeError(f"step must be a train.recipes.Step, got {short_repr(step)}")
    check_callable("loss", step.loss, "callable on (output, target)")
    rows = len(check_rows("x", step.x))
    if len(check_rows("y", step.y)) != rows:
        raise ValueError(f"x and y must have as many rows, got {rows} and {len(step.y)}")
    if step.samples is not None and (
        not isinstance(step.samples, range) or len(step.samples) != rows or step.samples.step < 1
    ):
        shown = short_repr(step.samples)
        raise ValueError(f"samples must be a range of {rows}, ascending, got {shown}")
    check_generator(step.generator)
    check_fraction("progress", step.progress)
    check_choice("knobs", step.knobs, DRAWS)
    step.controls  # noqa: B018 - refuses a model without one
    return step


def _shuffle_runs(widths: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return widths with the runs of equal ones in random order.

    Samplers return widths in ascending order; side by side, the narrow widths of one knob would
    always meet the narrow ones of another. Whole runs change places, so that they stay long enough
    to be computed as slices: with runs of equal length a Latin hypercube (McKay et al. 1979).
    """
    generator = generator_or_fresh(generator)
    runs = widths.unique_consecutive(return_inverse=True)[1]
    places = torch.randperm(int(runs[-1]) + 1, generator=generator, device=generator.device)
    return widths[places.to(runs.device)[runs].argsort(stable=True)]
