"""Full width in every step beside narrow ones whose losses count alike: for autoencoders."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.func import functional_call

from vsnn_lab._basics.checks import (
    check_callable,
    check_fraction,
    check_int,
    check_number,
    check_tensor,
)
from vsnn_lab.networks.channels_last import channels_last
from vsnn_lab.networks.forward import runs_of
from vsnn_lab.networks.gate import output_axis, private_copy
from vsnn_lab.networks.trunk import split_trunk
from vsnn_lab.samplers import LogUniform, Sampler
from vsnn_lab.train.recipes.base import Recipe, scale_shared_gradients
from vsnn_lab.train.recipes.step import Step, Widths, check_step
from vsnn_lab.widths import Width, WidthControl, keep_prefix


@dataclass(frozen=True)
class FullAndNarrow(Recipe):
    """Each sample at full width and again at sampled ones, every width's loss relative to its size.

    With L the loss at full width and L(r) that of run r, a batch minimises L + weight · mean of
    L · log L(r), where L before the logarithm is a number without gradient. So a width whose
    loss is five times larger gets no louder a voice, and the curve over widths sinks as a whole.
    That is meant for losses above 0; of one below, the size counts.
    What the widths compute alike, an autoencoder's encoder say, runs once.

    Towards the end the full width has its way: the narrow widths' weight moves to
    ``final_weight``, and what they pass on to weights that a `ConditionedLinear` shares falls from
    ``shared`` to nothing, so that they are left with what is theirs.

    Args:
        sampler: Draws the narrow widths.
        draws: Narrow widths a sample.
        weight: What the narrow widths count beside the full one at first.
        final_weight: What they count in the end; by default as at first.
        shared: How much of their gradient narrow widths pass on at first to the weight and bias of
            a `ConditionedLinear`, in [0, 1].
        spared: First knob positions whose units the full-width loss does not train: they belong to
            the narrow widths, and the others make up for it. It acts where the trunk of the
            network ends, see `split_trunk`.

    References:
        Yu & Huang 2019, "Universally Slimmable Networks", arXiv 1903.05134, for full width in
        every step; Kendall et al. 2018, arXiv 1705.07115, for losses of unlike size.
    """

    sampler: Sampler = field(default_factory=lambda: LogUniform(runs=8))
    draws: int = 1
    weight: float = 1.0
    final_weight: float | None = None
    shared: float = 0.5
    spared: int = 0

    def __post_init__(self) -> None:
        check_callable("sampler", self.sampler, "a sampler")
        check_int("draws", self.draws)
        check_int("spared", self.spared, 0)
        check_number("weight", self.weight, 0)
        check_fraction("shared", self.shared)
        if self.final_weight is not None:
            check_number("final_weight", self.final_weight, 0)

    def losses(self, step: Step) -> Iterator[Tensor]:
        """Yield the weighted mean of the full and the relative narrow losses."""
        # By a function of its own, whose activations are gone when somebody goes backward.
        yield self._loss(step)

    def _loss(self, step: Step) -> Tensor:
        check_step(step)
        draws = [_runs_of(step.draw(self.sampler), step) for _ in range(self.draws)]
        trunk, rest = split_trunk(step.model)
        axis, dim = output_axis(trunk)
        # Turned to full width, since at rest a mask draws widths of its own.
        with step.turn(step.steps):
            prefixes = trunk(private_copy(trunk, channels_last(step.model, step.x)))
        whole = prefixes
        if self.spared and isinstance(axis, Width):
            units = axis.at(min(self.spared, axis.control.steps))
            first, others = prefixes.split([units, axis.max_width - units], dim)
            whole = torch.cat([first.detach(), others], dim)
        with step.turn(step.steps):
            output = rest(private_copy(rest, whole))
        full = check_tensor("what loss returns", step.loss(output, step.y))
        parameters = scale_shared_gradients(rest, self.shared * (1 - step.progress))
        narrow = torch.zeros_like(full)
        for turns, sizes in draws:
            runs = zip(turns, prefixes.split(sizes), step.y.split(sizes), strict=True)
            for positions, inputs, targets in runs:
                with step.turn(positions):
                    kept = private_copy(rest, keep_prefix(inputs, axis, dim))
                    output = functional_call(rest, parameters, kept)
                    value = check_tensor("what loss returns", step.loss(output, targets))
                narrow = narrow + len(inputs) * _scale_to(full, value)
        final = self.weight if self.final_weight is None else self.final_weight
        weight = self.weight + (final - self.weight) * step.progress
        return (full + weight * narrow / (len(draws) * len(step.x))) / (1 + weight)


def _runs_of(widths: Widths, step: Step) -> tuple[list[dict[WidthControl, int]], list[int]]:
    """Return the positions of each run of alike widths, and its length."""
    by_knob = {step.control: widths} if isinstance(widths, Tensor) else widths
    runs = runs_of(by_knob)
    return [turn for turn, _ in runs], [length for _, length in runs]


def _scale_to(full: Tensor, value: Tensor) -> Tensor:
    """Return a loss scaled to the size of the full one, its gradient's direction kept."""
    size, unit = value.detach().abs(), full.detach().abs()
    # A loss of 0 has no size of its own.
    smallest = torch.finfo(size.dtype)
    return unit / size.clamp_min(smallest.tiny).maximum(smallest.eps * unit) * value
