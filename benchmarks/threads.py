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

from benchmarks.timing import Figure, threads
from benchmarks.training import THREADS, step
from vsnn_lab import Autoencoder, Interpolated, Sampled, Weighted, Width
from vsnn_lab._basics.threads import spin_count

_PROCESSES = 3  # at once, on a busy machine
_ROUNDS = 16
_ALONE, _BUSY = 0.4, 1.2  # seconds in a round
_SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def spinning() -> Iterator[Figure]:
    """Train alone and beside others, with the spin count that `make` sets and without."""
    unset = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    environs = {"unset": unset, "set": os.environ | spin_count(os.environ)}
    times: dict[str, list[float]] = {"alone": [], "alone, unset": [], "busy": [], "one": []}
    slow = []
    with ExitStack() as stack:
        started = {
            name: [stack.enter_context(_start(environ)) for _ in range(_PROCESSES)]
            for name, environ in environs.items()
        }
        for process in started["set"] + started["unset"]:
            process.stdout.readline()
        works = {
            "alone": lambda: _train(started["set"][:1], _ALONE, THREADS),
            "alone, unset": lambda: _train(started["unset"][:1], _ALONE, THREADS),
            "busy": lambda: _train(started["set"], _BUSY, THREADS),
            "one": lambda: _train(started["set"], _BUSY, 1),
        }
        for turn in range(_ROUNDS):
            for name in list(works)[:: 1 if turn % 2 else -1]:
                times[name].append(works[name]())
            if turn % 4 == 0:  # a step takes a second
                slow.append(times["busy"][-1] / _train(started["unset"], _BUSY, THREADS))
    found = {name: np.array(each) for name, each in times.items()}
    what = "step of the quickstart, batch 128"
    alone = found["alone"] / found["alone, unset"]
    yield Figure(f"{what}, over one whose threads spin", alone, 1.05, threads=THREADS)
    what += f", beside {_PROCESSES - 1} others"
    yield Figure(
        f"{what}, over one thread there", found["busy"] / found["one"], 1.5, threads=THREADS
    )
    yield Figure(f"{what}, over one whose threads spin", np.array(slow), 0.2, threads=THREADS)


def _start(environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.threads"],
        env=environ,
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _train(processes: list[subprocess.Popen[str]], seconds: float, count: int) -> float:
    """Let processes train at once, with so many threads each; return the seconds of a step."""
    for process in processes:
        process.stdin.write(f"{seconds} {count}\n")
        process.stdin.flush()
    return float(np.mean([float(process.stdout.readline()) for process in processes]))


def _serve() -> None:
    """Train as long as each line of the input says, and print the seconds of a step."""
    images = torch.rand(128, 1, 28, 28)
    sampler = Interpolated(Weighted(lambda fraction: 1 / fraction, runs=4), full_fraction=0.5)
    work = step(Autoencoder((1, 28, 28), Width(32)), images, images, recipe=Sampled(sampler))
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, count = line.split()
        with threads(int(count)):
            work()  # the first one may start threads
            start, steps = time.perf_counter(), 0
            while time.perf_counter() - start < float(seconds):
                work()
                steps += 1
            print((time.perf_counter() - start) / steps, flush=True)


if __name__ == "__main__":
    _serve()
