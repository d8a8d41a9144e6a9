"""The mechanism behind the random samplers: stratified draws from a distribution of widths."""

import weakref
from typing import Protocol

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_generator, check_int
from vsnn_lab.widths import check_widths


class Sampler(Protocol):
    """Draws one width per sample."""

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return knob positions, shape (batch_size,), each in 1..steps, ascending."""
        ...


def check_sizes(batch_size: int, steps: int) -> tuple[int, int]:
    """Return both as ints of at least 1, or say what is wrong with them."""
    return check_int("batch_size", batch_size), check_int("steps", steps)


def draw_widths(
    sampler: Sampler,
    batch_size: int,
    steps: int,
    generator: torch.Generator | None,
    name: str = "sampler",
) -> Tensor:
    """Return what a sampler draws, checked: it may be anybody's function."""
    what = f"what {name} draws"
    widths = check_widths(what, sampler(batch_size, steps, generator), steps)
    if len(widths) != batch_size:
        raise ValueError(
            f"{what} must be one width for each of {batch_size} samples, got {len(widths)}"
        )
    return widths


def generator_or_fresh(generator: torch.Generator | None) -> torch.Generator:
    """Return the generator, or one of fresh entropy in place of torch's global one."""
    if (given := check_generator(generator)) is not None:
        return given
    fresh = torch.Generator()
    fresh.seed()
    return fresh


def random_numbers(count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` random numbers in [0, 1)."""
    # float64, so that a knob of millions of steps still gets each of its positions.
    return torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device)


def assign_rows(parts: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """Return which of ``parts`` each sample belongs to: equal shares, the rest at random."""
    counts = torch.full((parts,), batch_size // parts, device=generator.device)
    shuffled = torch.randperm(parts, generator=generator, device=generator.device)
    counts[shuffled[: batch_size % parts]] += 1
    return torch.arange(parts, device=counts.device).repeat_interleave(counts)


def quantiles(runs: int, generator: torch.Generator) -> Tensor:
    """Return one random point of each of ``runs`` equal slices of [0, 1), ascending."""
    slices = torch.arange(runs, device=generator.device)
    return (slices + random_numbers(runs, generator)) / runs


def normalise_weights(weights: Tensor) -> Tensor:
    """Return weights as probabilities; at least one of them must be positive."""
    weights = weights / weights.max()  # so that the sum of large finite weights is finite
    return weights / weights.sum()


class Distribution:
    """A sampler that states the probability of each width.

    The draw is stratified: the distribution is cut into as many equally likely slices as there
    are runs, and each run takes one width from its own slice. Narrow and wide both occur in every
    batch, and over many batches each width has exactly its probability.
    """

    runs: int | None

    def __post_init__(self) -> None:
        if self.runs is not None:
            check_int("runs", self.runs)

    def probabilities(self, steps: int) -> Tensor:
        """Return the probability of each width 1..steps, shape (steps,), float64."""
        raise NotImplementedError

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return stratified random positions."""
        batch_size, steps = check_sizes(batch_size, steps)
        generator = generator_or_fresh(generator)
        runs = min(int(self.runs or batch_size), batch_size)
        positions = self.draw(runs, steps, generator)
        return positions[assign_rows(runs, batch_size, generator)]

    def draw(self, runs: int, steps: int, generator: torch.Generator) -> Tensor:
        """Return one position from each of ``runs`` equally likely slices, ascending."""
        runs, steps = check_int("runs", runs), check_int("steps", steps)
        generator = generator_or_fresh(generator)
        edges, last = _table(self, steps, generator.device)
        found = torch.searchsorted(edges, quantiles(runs, generator), right=True)
        # Rounding may leave the last edge below a quantile.
        return found.clamp(max=last) + 1


_Table = tuple[Tensor, int]
# By identity, and not on the samplers: what a sampler has as an attribute is one of its settings,
# and two that are equal may hold a function that answered differently when each was made.
_TABLES: dict[int, dict[tuple[int, torch.device], _Table]] = {}


def _table(distribution: Distribution, steps: int, device: torch.device) -> _Table:
    """Return a sampler's cumulative distribution and its last width with weight, counted from 0.

    It is computed once for each number of steps and device, and kept as long as the sampler.
    """
    name = id(distribution)
    if name not in _TABLES:
        _TABLES[name] = {}
        weakref.finalize(distribution, _TABLES.pop, name, None)
    tables = _TABLES[name]
    if (steps, device) not in tables:
        edges = distribution.probabilities(steps).cumsum(0)
        tables[steps, device] = edges.to(device), int((edges < edges[-1]).sum())
    return tables[steps, device]
