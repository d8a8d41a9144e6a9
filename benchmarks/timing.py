"""Measure works in turns, so that what slows the machine down slows all of them."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

Work = Callable[[], object]

_devices = [torch.device("cpu")]

# The first calls allocate memory and choose kernels.
_WARM_UP = 3
# A clock tells a single short call badly: short ones are repeated for this many seconds.
_SLICE = 0.02


def device() -> torch.device:
    """Return where steps are measured."""
    return _devices[-1]


def device_name() -> str:
    """Return the name of the card that steps are measured on; the table names the processor."""
    return torch.cuda.get_device_name() if device().type == "cuda" else "CPU"


@contextmanager
def on_device(name: str) -> Iterator[None]:
    """Measure steps on a device."""
    _devices.append(torch.device(name))
    try:
        yield
    finally:
        _devices.pop()


@dataclass(frozen=True)
class Measurement:
    """One line of the table: measured values, beside what one of them is to be.

    Args:
        what: What was measured.
        values: One for each round.
        most: The largest value that meets the target.
        least: The smallest one.
        unit: Of the values; "×" is a ratio to the plain network in the same run.
        threads: Of torch; 0 where none of its work is measured.
        percentile: Which of the values is to meet the target.
        device: The name of the card, or CPU.
    """

    what: str
    values: np.ndarray
    most: float
    least: float = 0.0
    unit: str = "×"
    threads: int = 1
    percentile: int = 50
    device: str = field(default_factory=device_name)

    @property
    def value(self) -> float:
        """What counts against the target."""
        return float(np.percentile(self.values, self.percentile))

    @property
    def quartiles(self) -> tuple[float, float]:
        """Half of the values lie between these."""
        low, high = np.percentile(self.values, (25, 75))
        return float(low), float(high)

    @property
    def met(self) -> bool:
        """Whether the value meets the target."""
        return self.least <= self.value <= self.most


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def interleaved_times(works: Mapping[str, Work], rounds: int = 15) -> dict[str, np.ndarray]:
    """Return seconds of one call of each work, one value a round.

    Every round times all works, in an order that turns from round to round.
    """
    names = list(works)
    calls = {name: _calls_per_slice(work) for name, work in works.items()}
    times = {name: [] for name in names}
    for index in range(rounds):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(_seconds_per_call(works[name], calls[name]))
    return {name: np.array(each) for name, each in times.items()}


def ratios(works: Mapping[str, Work], rounds: int = 15) -> dict[str, np.ndarray]:
    """Return the time of each work over that of the work called "plain", one ratio a round."""
    times = interleaved_times(works, rounds)
    plain = times.pop("plain")
    return {name: each / plain for name, each in times.items()}


def _calls_per_slice(work: Work) -> int:
    for _ in range(_WARM_UP):
        work()
    return max(1, round(_SLICE / max(_seconds_per_call(work, 1), 1e-6)))


def _seconds_per_call(work: Work, calls: int) -> float:
    _wait()
    start = time.perf_counter()
    for _ in range(calls):
        work()
    _wait()
    return (time.perf_counter() - start) / calls


def _wait() -> None:
    """Wait for a card, which works on while Python goes on."""
    if device().type == "cuda":
        torch.cuda.synchronize()
