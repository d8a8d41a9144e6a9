"""Samplers made of others: shares of the batch for different rules, and shifted widths."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_callable, check_fraction, check_int
from vsnn_lab.samplers.draws import (
    Sampler,
    assign_rows,
    check_sizes,
    draw_widths,
    generator_or_fresh,
    random_numbers,
)
from vsnn_lab.samplers.random import Stratified

_INNER = Stratified(1)


@dataclass(frozen=True)
class Sandwich:
    """The sandwich rule: the smallest width, the largest, and random ones in between.

    With n inner widths, P(w) = ([w = 1] + [w = steps] + n / steps) / (n + 2): each of the n + 2
    widths has an equal share of the batch, and what is left over goes to shares chosen at random.
    The inner ones are uniform on 1..steps, one from each of n equal slices. A batch of fewer than
    n + 2 samples keeps the largest width first, then the smallest, then random ones.

    Args:
        inner: Random widths in a batch, 0 or more.

    References:
        Yu & Huang 2019, "Universally Slimmable Networks and Improved Training Techniques",
        arXiv 1903.05134.

    Example:
        >>> Sandwich(inner=0)(4, 16)
        tensor([ 1,  1, 16, 16])
    """

    inner: int = 2

    def __post_init__(self) -> None:
        check_int("inner", self.inner, 0)

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the shares of the smallest, the random and the largest positions."""
        batch_size, steps = check_sizes(batch_size, steps)
        generator = generator_or_fresh(generator)
        ends = torch.tensor([1, steps][-batch_size:], device=generator.device)
        inner = min(self.inner, batch_size - len(ends))
        random = _INNER.draw(inner, steps, generator) if inner else ends[:0]
        parts = torch.cat([ends, random]).sort().values
        return parts[assign_rows(len(parts), batch_size, generator)]


@dataclass(frozen=True)
class Interpolated:
    """Mix a sampler with plain training: a share of the samples runs at full width.

    Between 0 (the sampler alone) and 1 (an ordinary network): the remedy that the method's authors
    suggest for the gap to an unconstrained network.

    Args:
        sampler: Draws the other samples' widths.
        full_fraction: Share of samples at full width, in [0, 1]. Where it does not come out even,
            the count is rounded up or down at random, so that the share holds over batches.

    Example:
        >>> from vsnn_lab.samplers import Triangular
        >>> Interpolated(Triangular(), 0.5)(8, 4)
        tensor([1, 2, 3, 4, 4, 4, 4, 4])
    """

    sampler: Sampler
    full_fraction: float

    def __post_init__(self) -> None:
        check_callable("sampler", self.sampler, "a sampler")
        check_fraction("full_fraction", self.full_fraction)

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the sampler's positions followed by the full ones."""
        batch_size, steps = check_sizes(batch_size, steps)
        generator = generator_or_fresh(generator)
        exact = batch_size * self.full_fraction
        full = min(int(exact + float(random_numbers(1, generator))), batch_size)
        widths = torch.full((full,), steps, device=generator.device)
        if full == batch_size:
            return widths
        rest = draw_widths(self.sampler, batch_size - full, steps, generator)
        return torch.cat([rest.to(widths), widths])


@dataclass(frozen=True)
class Shifted:
    """Move every width of a sampler by the same number of positions: a triangle off its diagonal.

    With a positive diagonal the first units are kept by every sample, so they train as an ordinary
    layer does and only those behind them are ordered. What would leave 1..steps stays at its end.
    In the paper's code it is ``diagonal``; there a negative one leaves samples without any unit.

    Args:
        sampler: Draws the widths.
        diagonal: Positions that each sample keeps beyond, or with a minus sign short of, its own.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.

    Example:
        >>> from vsnn_lab.samplers import Triangular
        >>> Shifted(Triangular(), diagonal=2)(6, 6)
        tensor([3, 4, 5, 6, 6, 6])
    """

    sampler: Sampler
    diagonal: int

    def __post_init__(self) -> None:
        check_callable("sampler", self.sampler, "a sampler")
        check_int("diagonal", self.diagonal, low=None)

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the sampler's positions, shifted and held within 1..steps."""
        batch_size, steps = check_sizes(batch_size, steps)
        widths = draw_widths(self.sampler, batch_size, steps, generator)
        # Further than from one end to the other no position moves; int64 would not hold any shift.
        shift = max(1 - steps, min(int(self.diagonal), steps - 1))
        return (widths + shift).clamp(1, steps)
