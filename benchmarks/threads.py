"""What two threads cost and save, on an idle machine and beside other processes.

The step is the quickstart's. Its processes are started as `make` starts them, and as they would be
otherwise. All of them wait, and train for a moment when they are told to, so that they take turns.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import Measurement, threads
from benchmarks.training import THREADS, step
from vsnn_lab import Autoencoder, Interpolated, Sampled, Weighted, Width
from vsnn_lab._basics.threads import spin_count

_AT_ONCE = 3  # processes on a busy machine
# Started each way: one is up to a tenth faster than the next, for where its memory happens to lie.
_PROCESSES = 6
_ROUNDS = 10
_SECONDS = 0.4  # that a process trains when it is told to


def spinning() -> Iterator[Measurement]:
    """Train alone and beside others, with the spin count that `make` sets and without."""
    chosen = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    unset = {name: value for name, value in os.environ.items() if name not in chosen}
    with ExitStack() as stack:
        limited, unlimited = (
            [stack.enter_context(_start(environ)) for _ in range(_PROCESSES)]
            for environ in (os.environ | spin_count(os.environ), unset)
        )
        works = {
            "alone": (limited, 1, THREADS),
            "alone, unlimited": (unlimited, 1, THREADS),
            "beside": (limited[:_AT_ONCE], _AT_ONCE, THREADS),
            "beside, one thread": (limited[:_AT_ONCE], _AT_ONCE, 1),
            "beside, unlimited": (unlimited[:_AT_ONCE], _AT_ONCE, THREADS),
        }
        _step_seconds(limited + unlimited, 2 * _PROCESSES, 1)  # until all have started
        rounds = []
        for turn in range(_ROUNDS):
            order = sorted(works, reverse=bool(turn % 2))
            rounds.append({name: _step_seconds(*works[name]) for name in order})
    times = {name: np.array([each[name] for each in rounds]) for name in works}
    for what, name, other, most in (
        ("over one whose threads spin without limit", "alone", "alone, unlimited", 1.05),
        ("beside 2 others, over one thread there", "beside", "beside, one thread", 1.5),
        ("beside 2 others, over threads without limit", "beside", "beside, unlimited", 0.5),
    ):
        values = times[name] / times[other]
        yield Measurement(f"step of the quickstart, {what}", values, most, threads=THREADS)


def _start(environ: dict[str, str]) -> subprocess.Popen[str]:
    """Start a process that trains when it is told to."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.threads"],
        env=environ,
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _step_seconds(processes: list[subprocess.Popen[str]], at_once: int, count: int) -> float:
    """Let processes train, some at once, with so many threads each; return a step's mean time."""
    times = []
    for first in range(0, len(processes), at_once):
        group = processes[first : first + at_once]
        for process in group:
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
        times += [float(process.stdout.readline()) for process in group]
    return float(np.mean(times))


def train_when_told() -> None:
    """Train with as many threads as each line of the input says, and print a step's seconds."""
    images = torch.rand(128, 1, 28, 28)
    sampler = Interpolated(Weighted(lambda fraction: 1 / fraction, runs=4), full_fraction=0.5)
    work = step(Autoencoder((1, 28, 28), Width(32)), images, images, recipe=Sampled(sampler))
    for line in sys.stdin:
        with threads(int(line)):
            work()  # the first one may start threads
            start, steps, seconds = time.perf_counter(), 0, 0.0
            while not steps or seconds < _SECONDS:
                work()
                steps, seconds = steps + 1, time.perf_counter() - start
            print(seconds / steps, flush=True)


if __name__ == "__main__":
    train_when_told()
