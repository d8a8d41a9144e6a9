"""What a recipe makes a loss of: a batch, and all that decides its widths."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import (
    check_callable,
    check_fraction,
    check_generator,
    check_rows,
    short_repr,
)
from vsnn_lab.samplers import Sampler
from vsnn_lab.samplers.draws import draw_widths
from vsnn_lab.widths import WidthControl, single_control

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """One step of a training.

    Attributes:
        model: A network with one knob, which stands at full width.
        x: Inputs, one row a sample.
        y: Targets, as many rows.
        loss: Mean loss of a batch, ``loss(output, target) -> scalar``.
        generator: What widths are drawn from; None draws from fresh entropy.
        progress: How much of the training is behind it, in [0, 1].
        samples: Which samples of a batch the rows are, ``range(process, batch_size, processes)``
            where several processes share one; by default all of it.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    loss: Loss
    generator: torch.Generator | None = None
    progress: float = 0.0
    samples: range | None = None

    @cached_property
    def control(self) -> WidthControl:
        """The knob of the network."""
        return single_control(self.model)

    @property
    def _samples(self) -> range:
        return range(len(self.x)) if self.samples is None else self.samples

    def draw(self, sampler: Sampler) -> Tensor:
        """Return a width for each row: a share of those drawn for the whole batch.

        So they do not depend on how many processes share it.
        """
        samples = self._samples
        widths = draw_widths(sampler, samples.stop, self.control.steps, self.generator)
        return widths[samples.start :: samples.step]

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
    step.control  # noqa: B018 - refuses a model without one
    return step
