"""Samplers of random widths, each with the distribution that it states."""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_fraction, check_int, check_returned, short_repr
from vsnn_lab.samplers.draws import (
    Distribution,
    assign_rows,
    check_sizes,
    generator_or_fresh,
    normalise_weights,
)
from vsnn_lab.widths import geometric_widths


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
        batch_size, steps = check_sizes(batch_size, steps)
        return assign_rows(steps, batch_size, generator_or_fresh(generator)) + 1


@dataclass(frozen=True)
class Stratified(Distribution):
    """Uniform widths in a few runs, one from each equal slice of the range: P(w) = 1 / steps.

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

    def probabilities(self, steps: int) -> Tensor:
        """Return the probability of each width 1..steps, shape (steps,), float64."""
        return normalise_weights(torch.ones(check_int("steps", steps), dtype=torch.float64))


@dataclass(frozen=True)
class Weighted(Distribution):
    """Random widths with probability proportional to ``fn(width / steps)``.

    The draw is stratified: the distribution is cut into as many equally likely slices as there
    are runs, and each run takes one width from its own slice. Narrow and wide both occur in every
    batch, and over many batches each width has exactly its probability.

    Args:
        fn: Weight of a width given as a fraction of the full one, in (0, 1]; not negative. A
            sampler asks it once for each number of steps: weights that change need another
            sampler.
        runs: Different draws in a batch, each shared by neighbouring samples; by default one
            for each sample.

    Example:
        Widths that grow rarer with their square, in four runs that train as four dense slices:

        >>> narrow = Weighted(lambda fraction: 1 / fraction**2, runs=4)
        >>> narrow(256, 32).unique().numel() <= 4
        True
    """

    fn: Callable[[float], float]
    runs: int | None = None

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise TypeError(
                f"fn must be callable on a fraction in (0, 1], got {short_repr(self.fn)}"
            )
        super().__post_init__()

    def probabilities(self, steps: int) -> Tensor:
        """Return the probability of each width 1..steps, shape (steps,), float64.

        Raises:
            ValueError: If a weight is negative or not finite, or all are zero.
        """
        steps = check_int("steps", steps)
        fractions = [width / steps for width in range(1, steps + 1)]
        answers = [check_returned("fn", self.fn(fraction)) for fraction in fractions]
        weights = torch.tensor(answers, dtype=torch.float64)
        bad = ~(weights.isfinite() & (weights >= 0))
        if bad.any():
            at = int(bad.nonzero()[0])
            raise ValueError(
                f"fn must return finite weights that are not negative, got {weights[at].item()} "
                f"for the fraction {fractions[at]:.4g}"
            )
        if not weights.any():
            raise ValueError(f"fn must give some width a weight above 0, got none in 1..{steps}")
        return normalise_weights(weights)


@dataclass(frozen=True)
class LogUniform(Distribution):
    """Widths uniform in log2: each octave is about equally likely, so narrow ones train more.

    P(w) = log(1 + 1/w) / log(1 + steps): the whole part of a number that is log-uniform on
    [1, steps + 1). For 9 steps it is the law of first digits (Benford 1938).

    Args:
        runs: Different draws in a batch, each shared by neighbouring samples and taken from its
            own equally likely slice; by default one for each sample.

    References:
        Kusupati et al. 2022, "Matryoshka Representation Learning", arXiv 2205.13147, spaces its
        widths evenly in log2.

    Example:
        >>> LogUniform().probabilities(3)  # log2 of 2/1, 3/2 and 4/3, over log2 of 4
        tensor([0.5000, 0.2925, 0.2075], dtype=torch.float64)
    """

    runs: int | None = None

    def probabilities(self, steps: int) -> Tensor:
        """Return the probability of each width 1..steps, shape (steps,), float64."""
        widths = torch.arange(1, check_int("steps", steps) + 1, dtype=torch.float64)
        return normalise_weights(torch.log1p(1 / widths))


@dataclass(frozen=True)
class Octaves(Distribution):
    """Every octave 1, 2, 3..4, 5..8, ... equally likely, and the widths within it.

    Layers that have weights of their own for each octave (`vsnn_lab.condition`) so train all of
    them alike. The last octave ends at full width.

    Args:
        runs: Different draws in a batch, each shared by neighbouring samples and taken from its
            own equally likely slice; by default one for each sample.

    Example:
        >>> (12 * Octaves().probabilities(6)).tolist()  # 1, 2, 3..4 and 5..6
        [3.0, 3.0, 1.5, 1.5, 1.5, 1.5]
    """

    runs: int | None = None

    def probabilities(self, steps: int) -> Tensor:
        """Return the probability of each width 1..steps, shape (steps,), float64."""
        tops = geometric_widths(steps)
        sizes = torch.tensor([top - below for below, top in pairwise([0, *tops])])
        return normalise_weights((1 / sizes.double()).repeat_interleave(sizes))


@dataclass(frozen=True)
class TailExponential(Distribution):
    """Widths of a truncated exponential distribution that drops the share ``p`` on average.

    P(w) is proportional to exp(rate * w / steps), and the rate is the one that makes the mean
    kept share, E[w] / steps, equal to 1 - p on the widths 1..steps themselves. Below a half or so
    wide ones are likelier, above it narrow ones; at (1 - 1/steps) / 2 all are alike.

    The meaning of ``p`` is TailDropout's. There the kept share is an exponential variable cut off
    at 1: it falls for every p, and all that lies beyond 1 runs at full width. Here the exponential
    is truncated, so that full width gets no share of its own; `Interpolated` gives it one.

    Args:
        p: Mean dropped share, from 0 (full width) to 1 - 1/steps (width 1). A larger one is
            refused when widths are drawn, because width 1 already keeps more.
        runs: Different draws in a batch, each shared by neighbouring samples and taken from its
            own equally likely slice; by default one for each sample.

    References:
        Martinsson 2018, "TailDropout", github.com/ragulpr/taildropout.

    Example:
        >>> tail = TailExponential(0.75)
        >>> tail.probabilities(4)  # only width 1 keeps as little as a quarter
        tensor([1., 0., 0., 0.], dtype=torch.float64)
        >>> mean = tail.probabilities(100) @ torch.arange(1.0, 101).double()
        >>> round(mean.item(), 4)
        25.0
    """

    p: float
    runs: int | None = None

    def __post_init__(self) -> None:
        check_fraction("p", self.p)
        super().__post_init__()

    def probabilities(self, steps: int) -> Tensor:
        """Return the probability of each width 1..steps, shape (steps,), float64.

        Raises:
            ValueError: If even width 1 keeps more than 1 - p on average.
        """
        steps = check_int("steps", steps)
        dropped = self.p * steps
        # 1 - 1/steps itself must pass, whichever way its product with the steps is rounded.
        if dropped - (steps - 1) > 1e-12 * steps:
            raise ValueError(
                f"p must lie in [0, 1 - 1/{steps}] (up to {1 - 1 / steps:.4g}) at {steps} steps, "
                f"got {self.p}; even width 1 keeps 1/{steps}"
            )
        return _falling(steps, dropped).flip(0)


def _falling(count: int, mean: float) -> Tensor:
    """Return the probabilities of 0..count - 1, proportional to exp(rate * i), with this mean."""
    if mean > (count - 1) / 2:
        return _falling(count, count - 1 - mean).flip(0)
    index = torch.arange(count, dtype=torch.float64)
    if mean <= 0:
        return (index == 0).double()
    # Not truncated, this rate would have the mean; truncated, its mean is lower, and it rises
    # with the rate. Every halving gains a bit, and a float64 has 53.
    lowest, parts = math.log(mean / (1 + mean)), 2**60

    def chances(part: int) -> Tensor:
        return torch.softmax(lowest * ((parts - part) / parts) * index, 0)

    return chances(bisect_left(range(parts), mean, key=lambda part: float(chances(part) @ index)))


@dataclass(frozen=True)
class Geometric(Distribution):
    """The geometric widths of nested dropout: after each unit the width ends with chance ``p``.

    P(w) = (1 - p)^(w - 1) p / (1 - (1 - p)^steps). The distribution is truncated: the mass of
    widths beyond ``steps`` is spread over 1..steps in proportion (renormalised), and not heaped on
    the full width, which `Interpolated` does where it is wanted.

    Args:
        p: Chance of ending at each unit, in (0, 1]; 1 always keeps one unit. Widths of 1/p units
            are the mean where steps are many.
        runs: Different draws in a batch, each shared by neighbouring samples and taken from its
            own equally likely slice; by default one for each sample.

    References:
        Rippel, Gelbart & Adams 2014, "Learning Ordered Representations with Nested Dropout",
        arXiv 1402.0915.

    Example:
        >>> Geometric(0.5).probabilities(2)
        tensor([0.6667, 0.3333], dtype=torch.float64)
    """

    p: float
    runs: int | None = None

    def __post_init__(self) -> None:
        if check_fraction("p", self.p) == 0:
            raise ValueError(f"p must lie in (0, 1], got {self.p}; Uniform draws all widths alike")
        super().__post_init__()

    def probabilities(self, steps: int) -> Tensor:
        """Return the probability of each width 1..steps, shape (steps,), float64."""
        units = torch.arange(check_int("steps", steps), dtype=torch.float64)
        return normalise_weights((1.0 - self.p) ** units)
