"""Full width, the narrowest and a random width in between, each on every sample."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vsnn_lab._basics.checks import (
    check_callable,
    check_fraction,
    check_int,
    check_number,
    check_tensor,
)
from vsnn_lab.networks.channels_last import channels_last
from vsnn_lab.networks.gate import private_copy
from vsnn_lab.samplers.draws import generator_or_fresh, random_numbers
from vsnn_lab.train.recipes.base import Recipe
from vsnn_lab.train.recipes.distillation import DistillationLoss, soft_target_function
from vsnn_lab.train.recipes.step import Step, check_step
from vsnn_lab.widths import WidthControl


@dataclass(frozen=True)
class SandwichDistilled(Recipe):
    """Each sample at full width, at the narrowest and at a random one, which full width teaches.

    A step trains the whole batch at full width, for the labels alone. Its output, without gradient,
    and the labels are the target of the narrowest width and of ``inner`` random ones in between,
    on all samples. Meant for networks whose widths all share their weights, language models above
    all, with norms that know their width (`ConditionedRMSNorm`, `condition_norms`).

    Several knobs turn together, or each inner width is drawn for each of them by itself.

    Args:
        inner: Random widths of a step, all positions between the narrowest and full width alike.
        wide_share: In place of that, draw one of the narrower half of these positions in every
            step, and one of the wider half in this share of the steps: narrow widths, which are
            cheap and furthest from full width, learn more often in as much time.
        labels: Share of the labels in what the narrow widths learn; the rest is the full output's.
        weight: What the loss of each narrow width counts beside the full one at first.
        final_weight: What it counts in the end; by default as at first.
        teach: Makes a target for the loss of an output. By default that follows from the loss, as
            in `Distilled`.

    References:
        Yu & Huang 2019, "Universally Slimmable Networks", arXiv 1903.05134, for the sandwich rule
        and in-place distillation.
    """

    inner: int = 1
    wide_share: float | None = None
    labels: float = 0.5
    weight: float = 1.0
    final_weight: float | None = None
    teach: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        check_int("inner", self.inner, 0)
        if self.wide_share is not None:
            check_fraction("wide_share", self.wide_share)
        check_fraction("labels", self.labels)
        check_number("weight", self.weight, 0)
        if self.final_weight is not None:
            check_number("final_weight", self.final_weight, 0)
        if self.teach is not None:
            check_callable("teach", self.teach, "callable on an output, or None")

    def losses(self, step: Step) -> Iterator[Tensor]:
        """Yield the loss at full width, then the weighted narrow ones."""
        turns = self._turns(check_step(step))
        x = channels_last(step.model, step.x)
        # Turned to full width, since at rest a mask draws widths of its own.
        with step.turn(step.steps):
            output = check_tensor("output", step.model(private_copy(step.model, x)))
        yield check_tensor("what loss returns", step.loss(output, step.y))
        soften = soft_target_function(step.loss) if self.teach is None else self.teach
        narrow_loss = DistillationLoss(step.loss, output.detach(), step.y, self.labels, soften)
        del output  # It would keep alive what it was computed from.
        final = self.weight if self.final_weight is None else self.final_weight
        weight = self.weight + (final - self.weight) * step.progress
        for turn in turns:
            with step.turn(turn):
                yield weight * narrow_loss(step.model(private_copy(step.model, x)))

    def draw(self, steps: int, generator: torch.Generator | None = None) -> list[int]:
        """Return the narrow widths of a step, joint ones of several knobs.

        Example:
            >>> SandwichDistilled(wide_share=0.5).draw(6, torch.Generator().manual_seed(0))
            [1, 3]
        """
        steps, generator = check_int("steps", steps), generator_or_fresh(generator)
        widths = [1] if steps > 1 else []
        if self.wide_share is None:
            ranges = [(2, steps)] * self.inner
        else:
            # Drawn whether it counts or not, so that a step takes as many numbers as any other.
            wide = bool(random_numbers(1, generator) < self.wide_share)
            middle = 2 + (steps - 1) // 2
            ranges = [(2, middle), (middle, steps)][: 1 + wide]
        for low, high in ranges:
            if low < high:
                widths.append(_draw(low, high, generator))
        return widths

    def _turns(self, step: Step) -> Sequence[int | Mapping[WidthControl, int]]:
        if len(step.controls) == 1 or step.knobs == "joint":
            return self.draw(step.steps, step.generator)
        generator = generator_or_fresh(step.generator)
        inner = range(self.inner if self.wide_share is None else 1)
        return [
            1,
            *({each: _draw(1, each.steps + 1, generator) for each in step.controls} for _ in inner),
        ]


def _draw(low: int, high: int, generator: torch.Generator) -> int:
    """Return an integer in low..high - 1."""
    return int(torch.randint(low, high, (), generator=generator, device=generator.device))
