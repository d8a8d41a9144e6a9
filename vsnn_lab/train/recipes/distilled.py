"""Full width in every step, and it teaches the narrow widths."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vsnn_lab._basics.checks import (
    check_callable,
    check_fraction,
    check_int,
    check_number,
    check_tensor,
)
from vsnn_lab.layers import OctaveLinear
from vsnn_lab.layers.octaves import octave_of, octave_tops, octaves_with_weights
from vsnn_lab.layers.side_by_side import at_several_positions
from vsnn_lab.networks.channels_last import channels_last
from vsnn_lab.networks.gate import is_elementwise, private_copy, proven_chain, sums_are_safe
from vsnn_lab.samplers.draws import generator_or_fresh, random_numbers
from vsnn_lab.train.recipes.base import Recipe, check_draws, scale_shared_gradients
from vsnn_lab.train.recipes.distillation import DistillationLoss, soft_target_function
from vsnn_lab.train.recipes.step import Step, check_step
from vsnn_lab.widths import Width

# How often an octave trains its widest position, which more of the others build on.
_WIDEST = 0.7
# How often a step trains a wider width: more samples in fewer steps are as many in less time.
_WIDE = 0.25


@dataclass(frozen=True)
class Distilled(Recipe):
    """Each sample at full width, which teaches one width of every octave what it learns.

    A step trains the whole batch at full width, for the labels alone. Its output, without
    gradient, and the labels are the target of the narrow widths: of one in each octave (1, 2, 3..4,
    5..8, ...) up to a quarter of the knob, or half of a short one, on most samples, and of one
    wider, on some of them. Narrow layers are small, so that all of it costs less than a second step
    at full width.

    It asks for layers that know their octave, such as ``MLP(..., conditioned=True)`` has. Then the
    narrow octaves train weights of their own, and the wider width passes on to the weights that all
    share only a part of its gradient, which falls from ``shared`` to ``final_shared``: full width
    comes out as if it were trained alone. It trains any other variable network, too, where all
    widths pull at the same weights. Several knobs it turns together, in octaves of joint positions.

    Args:
        labels: Share of the labels in what the narrow widths learn; the rest is the full output's.
        weight: What the mean loss of the narrow octaves counts beside the full one.
        narrow_rows: Share of the samples that the narrow octaves are trained on.
        inner_rows: Share of the samples that a second width of each narrow octave is trained on.
            Above 0 the first one is the widest of its octave in every step, so that it learns as
            much as a network of its own; that costs half as much again as the narrow octaves.
        wide_weight: What that of the wider width counts, in the quarter of all steps that have one.
        wide_rows: Share of the samples that it is trained on, over all steps.
        shared: How much of its gradient the wider width passes on at first to weights and biases of
            conditioned layers, in [0, 1].
        final_shared: How much in the end.
        teach: Makes a target for the loss of an output. By default that follows from the loss: for
            torch's cross entropies a softmax or a sigmoid, for its distances the output itself.
            Any other loss learns narrow widths from the labels alone, unless ``teach`` is given.

    References:
        Yu & Huang 2019, "Universally Slimmable Networks", arXiv 1903.05134, for in-place
        distillation; octaves, and sharing less towards the end, are ours.
    """

    # An octave is one of the whole network.
    draws_independently: ClassVar[bool] = False

    labels: float = 0.5
    weight: float = 1.0
    narrow_rows: float = 0.75
    inner_rows: float = 0.0
    wide_weight: float = 1.0
    wide_rows: float = 0.25
    shared: float = 1.0
    final_shared: float = 0.25
    teach: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        fractions = ("labels", "narrow_rows", "inner_rows", "wide_rows", "shared", "final_shared")
        for name in fractions:
            check_fraction(name, getattr(self, name))
        for name in ("weight", "wide_weight"):
            check_number(name, getattr(self, name), 0)
        if self.teach is not None:
            check_callable("teach", self.teach, "callable on an output, or None")

    def draw(self, steps: int, generator: torch.Generator | None = None) -> list[tuple[int, float]]:
        """Return the narrow widths of a step, each with the share of samples that it trains.

        Example:
            >>> Distilled().draw(8, torch.Generator().manual_seed(0))
            [(1, 0.75), (2, 0.75), (4, 0.75)]
            >>> Distilled(inner_rows=0.5).draw(8, torch.Generator().manual_seed(0))
            [(1, 0.75), (2, 0.75), (4, 0.75), (3, 0.5)]
        """
        steps = check_int("steps", steps)
        tops, octaves = octave_tops(steps), octaves_with_weights(steps)
        *chances, where, whether = random_numbers(
            octaves + 2, generator_or_fresh(generator)
        ).tolist()
        widths, inner = [], []
        for chance, below, top in zip(chances, [0, *tops], tops, strict=False):
            if self.inner_rows:
                widths.append((top, self.narrow_rows))
                if top - below > 1:
                    width = below + 1 + int(chance * (top - below - 1))
                    inner.append((width, self.inner_rows))
                continue
            width = below + 1 + int((chance - _WIDEST) / (1 - _WIDEST) * (top - below))
            widths.append((top if chance < _WIDEST else width, self.narrow_rows))
        widths += inner
        low = tops[octaves - 1] + 1 if octaves else 1
        if low < steps and (whether < _WIDE or not octaves):
            width = min(steps - 1, int(low * (steps / low) ** where))
            widths.append((width, min(1.0, self.wide_rows / (_WIDE if octaves else 1))))
        return widths

    def losses(self, step: Step) -> Iterator[Tensor]:
        """Yield the loss at full width, then the weighted narrow ones."""
        check_draws(self, check_step(step).controls, step.knobs)
        octaves = octaves_with_weights(step.steps)
        draws = self.draw(step.steps, step.generator)
        x = channels_last(step.model, step.x)
        # Turned to full width, since at rest a mask draws widths of its own.
        with step.turn(step.steps):
            output = check_tensor("output", step.model(private_copy(step.model, x)))
        yield check_tensor("what loss returns", step.loss(output, step.y))
        soften = soft_target_function(step.loss) if self.teach is None else self.teach
        narrow_loss = DistillationLoss(step.loss, output.detach(), step.y, self.labels, soften)
        del output  # It would keep alive what it was computed from.
        rows = step.first_rows(self.narrow_rows)
        alone = len(step.controls) == 1
        if alone and octaves and rows.stop and sums_are_safe(x) and _is_octave_chain(step.model):
            with at_several_positions(step.control, [width for width, _ in draws[:octaves]]):
                outputs = step.model(private_copy(step.model, x[rows]))
            yield self.weight * narrow_loss.of_several(outputs, rows)
            del outputs
            draws = draws[octaves:]
        factor = self.shared + (self.final_shared - self.shared) * step.progress
        for width, share in draws:
            if not (rows := step.first_rows(share)).stop:
                continue
            with step.turn(width):
                scaled = scale_shared_gradients(step.model, factor)
                inputs = private_copy(step.model, x[rows])
                value = narrow_loss(functional_call(step.model, scaled, inputs), rows)
            # The narrow octaves count together.
            narrow = octave_of(width) < octaves
            yield (self.weight / octaves if narrow else self.wide_weight) * value


def _is_octave_chain(model: nn.Module) -> bool:
    """Whether a network is a chain that `at_several_positions` takes, of fixed ends."""
    modules = [part for part in proven_chain(model) or [] if not is_elementwise(part)]
    while modules and isinstance(modules[0], nn.Flatten):
        modules.pop(0)
    if len(modules) < 2 or not all(isinstance(part, OctaveLinear) for part in modules):
        return False
    axes = [modules[0].in_axis, *(part.out_axis for part in modules)]
    inner = all(isinstance(axis, Width) for axis in axes[1:-1])
    return inner and isinstance(axes[0], int) and isinstance(axes[-1], int)
