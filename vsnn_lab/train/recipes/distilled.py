"""Full width in every step, and it teaches the narrow widths."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vsnn_lab._basics.checks import check_fraction, check_number, check_tensor
from vsnn_lab.layers import OctaveLinear
from vsnn_lab.layers.octaves import octave_of, octave_tops, octaves_with_weights
from vsnn_lab.layers.side_by_side import side_by_side
from vsnn_lab.measure.ablation import Metric
from vsnn_lab.networks.sequential import ELEMENTWISE, channels_last, flatten_sequential
from vsnn_lab.samplers.draws import checked, own, uniforms
from vsnn_lab.train.recipes.base import Recipe, check_batch, lent
from vsnn_lab.train.recipes.teaching import Lesson, check_teach, meaning
from vsnn_lab.widths import Width, at_width, single_control

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
    widths pull at the same weights.

    Args:
        labels: Share of the labels in what the narrow widths learn; the rest is the full output's.
        weight: What the mean loss of the narrow octaves counts beside the full one.
        narrow_rows: Share of the samples that the narrow octaves are trained on.
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

    labels: float = 0.5
    weight: float = 1.0
    narrow_rows: float = 0.75
    wide_weight: float = 1.0
    wide_rows: float = 0.25
    shared: float = 1.0
    final_shared: float = 0.25
    teach: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "narrow_rows", "wide_rows", "shared", "final_shared"):
            check_fraction(name, getattr(self, name))
        for name in ("weight", "wide_weight"):
            check_number(name, getattr(self, name), 0)
        check_teach(self.teach)

    def draw(
        self, batch_size: int, steps: int, generator: torch.Generator, progress: float = 0.0
    ) -> Tensor:
        """Return a row for each narrow width, shape (octaves + 1, batch_size).

        A sample that a row leaves out stands at full width, which it is trained at anyway.
        """
        batch_size, steps = checked(batch_size, steps)
        tops, narrow = octave_tops(steps), octaves_with_weights(steps)
        generator = own(generator)
        *chances, where, whether = uniforms(narrow + 2, generator).tolist()
        found = [
            (_within(chance, below + 1, top), self.narrow_rows)
            for chance, below, top in zip(chances, [0, *tops], tops[:narrow], strict=False)
        ]
        low = tops[narrow - 1] + 1 if narrow else 1
        if low < steps and (whether < _WIDE or not found):
            wide = min(steps - 1, int(low * (steps / low) ** where))
            found.append((wide, min(1.0, self.wide_rows / (_WIDE if found else 1))))
        rows = torch.full((max(1, len(found)), batch_size), steps)
        for row, (width, share) in zip(rows, found, strict=False):
            row[: math.ceil(share * batch_size)] = width
        return rows

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        widths: Tensor,
        loss: Metric,
        progress: float = 0.0,
    ) -> Tensor:
        """Return the loss at full width plus the weighted narrow ones."""
        return sum(self.losses(model, x, y, widths, loss, progress))

    def losses(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        widths: Tensor,
        loss: Metric,
        progress: float = 0.0,
    ) -> Iterator[Tensor]:
        """Yield the loss at full width, then the weighted narrow ones."""
        check_fraction("progress", progress)
        control = single_control(model)
        check_batch(control.steps, x, y, widths, loss)
        x = channels_last(model, x)
        output = model(x)
        yield check_tensor("what loss returns", loss(output, y))
        teach = meaning(loss) if self.teach is None else self.teach
        lesson = Lesson(loss, check_tensor("output", output).detach(), y, self.labels, teach)
        del output  # It would keep alive what it was computed from.
        drawn = _runs(widths, control.steps)
        octaves = octaves_with_weights(control.steps)
        if octaves and _stand_in_a_row(drawn[:octaves], octaves) and _runs_side_by_side(model):
            part = drawn[0][0][1]
            with side_by_side(control, [width for ((width, _),) in drawn[:octaves]]):
                outputs = model(x[part])
            yield self.weight * lesson.of_several(outputs, part)
            del outputs
            drawn = drawn[octaves:]
        share = self.shared + (self.final_shared - self.shared) * progress
        for width, part in chain.from_iterable(drawn):
            with at_width(control, width):
                value = lesson(functional_call(model, lent(model, share), x[part]), part)
            # The narrow octaves count together.
            narrow = octave_of(width) < octaves
            yield (self.weight / octaves if narrow else self.wide_weight) * value


def _within(chance: float, low: int, top: int) -> int:
    """Return a position in low..top, the last one more often than the others."""
    if chance < _WIDEST:
        return top
    return low + int((chance - _WIDEST) / (1 - _WIDEST) * (top - low + 1))


def _stand_in_a_row(drawn: list[list[tuple[int, slice]]], octaves: int) -> bool:
    """Whether draws are one width in each narrow octave, in order and of the same samples."""
    return (
        all(len(runs) == 1 for runs in drawn)
        and [octave_of(width) for ((width, _),) in drawn] == [*range(octaves)]
        and all(part == drawn[0][0][1] for ((_, part),) in drawn)
    )


def _runs(widths: Tensor, steps: int) -> list[list[tuple[int, slice]]]:
    """Return for each row the widths below full that neighbours share, and which samples have them.

    A row of one width, as most are, is seen at once, since looking through it takes longer than the
    layers of a narrow octave.
    """
    found = []
    alike = (widths == widths[:, :1]).all(1).tolist()
    for row, one in zip(widths, alike, strict=True):
        values, counts = (row[:1], None) if one else row.unique_consecutive(return_counts=True)
        sizes = [len(row)] if one else counts.tolist()
        ends = [*accumulate(sizes)]
        runs = zip(values.tolist(), sizes, ends, strict=True)
        found.append([(w, slice(end - size, end)) for w, size, end in runs if w < steps])
    return found


def _runs_side_by_side(model: nn.Module) -> bool:
    """Whether a network is a chain that `side_by_side` takes, of fixed inputs and outputs."""
    modules = [part for part in flatten_sequential(model) if not isinstance(part, ELEMENTWISE)]
    while modules and isinstance(modules[0], nn.Flatten):
        modules.pop(0)
    if len(modules) < 2 or not all(isinstance(part, OctaveLinear) for part in modules):
        return False
    axes = [modules[0].in_axis, *(part.out_axis for part in modules)]
    inner = all(isinstance(axis, Width) for axis in axes[1:-1])
    return inner and isinstance(axes[0], int) and isinstance(axes[-1], int)
