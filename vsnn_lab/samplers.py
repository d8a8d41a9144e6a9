"""Who draws the training widths.

A sampler is a callable ``sampler(batch_size, steps, generator=None) -> LongTensor[batch]``: one
knob position in 1..steps for each sample, equal ones side by side, in ascending order.

Randomness is explicit. A ``torch.Generator`` makes the draw repeatable; ``None`` draws from fresh
entropy and leaves torch's global generator alone; whoever wants global draws passes
``torch.default_generator``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vsnn_lab._checks import check_fraction, check_int


class Sampler(Protocol):
    """Draws one width per sample."""

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return knob positions, shape (batch_size,), each in 1..steps, ascending."""
        ...


def _checked(batch_size: int, steps: int) -> tuple[int, int]:
    return check_int("batch_size", batch_size), check_int("steps", steps)


def _own(generator: torch.Generator | None) -> torch.Generator:
    if generator is not None:
        return generator
    fresh = torch.Generator()
    fresh.seed()
    return fresh


def _uniforms(count: int, generator: torch.Generator) -> Tensor:
    # float64, so that a knob of millions of steps still gets each of its positions.
    return torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device)


def _shares(parts: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """Return which of ``parts`` each sample belongs to: equal shares, the rest at random."""
    counts = torch.full((parts,), batch_size // parts, device=generator.device)
    shuffled = torch.randperm(parts, generator=generator, device=generator.device)
    counts[shuffled[: batch_size % parts]] += 1
    return torch.arange(parts, device=counts.device).repeat_interleave(counts)


def _quantiles(runs: int, generator: torch.Generator) -> Tensor:
    """Return one random point of each of ``runs`` equal slices of [0, 1), ascending."""
    slices = torch.arange(runs, device=generator.device)
    return (slices + _uniforms(runs, generator)) / runs


@dataclass(frozen=True)
class Triangular:
    """The paper's deterministic triangle: widths rise evenly from the first row to the last.

    A batch of ``steps`` rows is exactly lower triangular; a multiple of it repeats each width
    equally often; a smaller batch is block triangular (4 rows of 16 units keep 4, 8, 12, 16); and
    any other size spreads the widths as evenly as integers allow, with full width last.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.

    Example:
        >>> Triangular()(4, 16)
        tensor([ 4,  8, 12, 16])
    """

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return ceil((i + 1) * steps / batch_size) for each row i; no randomness is used."""
        batch_size, steps = _checked(batch_size, steps)
        rows = torch.arange(1, batch_size + 1)
        return -(-rows * steps // batch_size)


@dataclass(frozen=True)
class Uniform:
    """Random widths, every one equally likely and balanced over the batch.

    Each width occurs ``batch_size // steps`` times; the rest of the batch goes to different widths
    chosen at random, so counts never differ by more than one.

    Example:
        >>> Uniform()(6, 3)
        tensor([1, 1, 2, 2, 3, 3])
    """

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return balanced random positions."""
        batch_size, steps = _checked(batch_size, steps)
        return _shares(steps, batch_size, _own(generator)) + 1


@dataclass(frozen=True)
class Weighted:
    """Random widths with probability proportional to ``fn(width / steps)``.

    The draw is stratified: the distribution is cut into as many equally likely slices as there
    are runs, and each run takes one width from its own slice. Narrow and wide both occur in every
    batch, and over many batches each width has exactly its probability.

    Args:
        fn: Weight of a width given as a fraction of the full one, in (0, 1]; not negative.
        runs: Different draws in a batch, each shared by neighbouring samples; by default one
            for each sample.

    Example:
        Log-uniform widths, in four runs that train as four dense slices:

        >>> log_uniform = Weighted(lambda fraction: 1 / fraction, runs=4)
        >>> log_uniform(256, 32).unique().numel() <= 4
        True
    """

    fn: Callable[[float], float]
    runs: int | None = None

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise TypeError(f"fn must be callable on a fraction in (0, 1], got {self.fn!r}")
        if self.runs is not None:
            check_int("runs", self.runs)

    def probabilities(self, steps: int) -> Tensor:
        """Return the probability of each width 1..steps, shape (steps,), float64.

        Raises:
            ValueError: If a weight is negative or not finite, or all are zero.
        """
        fractions = [width / steps for width in range(1, steps + 1)]
        weights = torch.tensor([float(self.fn(f)) for f in fractions], dtype=torch.float64)
        bad = ~(weights.isfinite() & (weights >= 0))
        if bad.any():
            at = int(bad.nonzero()[0])
            raise ValueError(
                f"fn must return finite weights that are not negative, got {weights[at].item()} "
                f"for the fraction {fractions[at]:.4g}"
            )
        if not weights.any():
            raise ValueError(f"fn must give some width a weight above 0, got none in 1..{steps}")
        return weights / weights.sum()

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return stratified random positions."""
        batch_size, steps = _checked(batch_size, steps)
        generator = _own(generator)
        runs = min(self.runs or batch_size, batch_size)
        edges = self.probabilities(steps).cumsum(0).to(generator.device)
        # Rounding may leave the last edge below a quantile: stop at the last width with weight.
        last = int((edges < edges[-1]).sum())
        found = torch.searchsorted(edges, _quantiles(runs, generator), right=True)
        return found.clamp(max=last)[_shares(runs, batch_size, generator)] + 1


@dataclass(frozen=True)
class Stratified:
    """Uniform widths in a few runs, one from each equal slice of the range.

    With 4 runs of 64 samples a batch of 256 trains as four dense slices, without masks; their
    average slice is a third of the full layer's multiplications.

    Args:
        runs: Different widths in a batch.

    Example:
        >>> Stratified(2)(4, 2)
        tensor([1, 1, 2, 2])
    """

    runs: int

    def __post_init__(self) -> None:
        check_int("runs", self.runs)

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return stratified random positions, ``runs`` different draws."""
        batch_size, steps = _checked(batch_size, steps)
        generator = _own(generator)
        runs = min(self.runs, batch_size)
        drawn = (_quantiles(runs, generator) * steps).long().clamp(max=steps - 1) + 1
        return drawn[_shares(runs, batch_size, generator)]


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
        >>> Interpolated(Triangular(), 0.5)(8, 4)
        tensor([1, 2, 3, 4, 4, 4, 4, 4])
    """

    sampler: Sampler
    full_fraction: float

    def __post_init__(self) -> None:
        if not callable(self.sampler):
            raise TypeError(f"sampler must be a sampler, got {self.sampler!r}")
        check_fraction("full_fraction", self.full_fraction)

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the sampler's positions followed by the full ones."""
        batch_size, steps = _checked(batch_size, steps)
        generator = _own(generator)
        exact = batch_size * self.full_fraction
        full = min(int(exact + float(_uniforms(1, generator))), batch_size)
        widths = torch.full((full,), steps, device=generator.device)
        if full == batch_size:
            return widths
        return torch.cat([self.sampler(batch_size - full, steps, generator).to(widths), widths])
