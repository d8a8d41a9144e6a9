"""Measure works in turns, so that what slows the machine down slows all of them."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

Work = Callable[[], object]

# The first calls allocate memory and choose kernels.
_WARM_UP = 3
# A clock tells a single short call badly: short ones are repeated for this many seconds.
_SLICE = 0.02


@dataclass(frozen=True)
class Figure:
    """One line of the table: a measured value with its spread, beside what it is to be.

    Args:
        what: What was measured, and against what.
        values: One for each round.
        least: The smallest value that meets the target.
        most: The largest one.
        unit: Empty for a ratio.
        threads: Of torch.
        note: What bounds it.
    """

    what: str
    values: np.ndarray
    most: float
    least: float = 0.0
    unit: str = ""
    threads: int = 1
    note: str = ""

    @property
    def median(self) -> float:
        """What counts against the target."""
        return float(np.median(self.values))

    @property
    def quartiles(self) -> tuple[float, float]:
        """Half of the values lie between these."""
        return tuple(float(value) for value in np.percentile(self.values, (25, 75)))

    @property
    def met(self) -> bool:
        """Whether the median meets the target."""
        return self.least <= self.median <= self.most


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_turns(works: Mapping[str, Work], rounds: int = 15) -> dict[str, np.ndarray]:
    """Return seconds of one call of each work, one value a round.

    Every round times all works, in an order that turns from round to round.
    """
    names = list(works)
    calls = {name: _calls(work) for name, work in works.items()}
    times = {name: [] for name in names}
    for index in range(rounds):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(_seconds(works[name], calls[name]))
    return {name: np.array(each) for name, each in times.items()}


def ratios(works: Mapping[str, Work], rounds: int = 15) -> dict[str, np.ndarray]:
    """Return the time of each work over that of the work called "plain", one ratio a round."""
    times = in_turns(works, rounds)
    plain = times.pop("plain")
    return {name: each / plain for name, each in times.items()}


def _calls(work: Work) -> int:
    for _ in range(_WARM_UP):
        work()
    return max(1, round(_SLICE / max(_seconds(work, 1), 1e-6)))


def _seconds(work: Work, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls
